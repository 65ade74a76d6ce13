//! A proxy in front of PostgreSQL that loses the answer to COMMIT, or the COMMIT itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the first COMMIT that comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server gets it; its answer does not come back.
    Answer,
    /// The server never gets it, and the connection ends.
    Commit,
    /// The server gets it, its answer does not come back, and no connection is taken any more.
    AnswerAndServer,
}

/// Start it; it lives as long as the test's runtime. Returns its port.
pub async fn start(server_port: u16, loss: Loss) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the proxy");
    let port = listener.local_addr().expect("its number").port();
    let struck = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if loss == Loss::AnswerAndServer && struck.load(Ordering::SeqCst) {
                continue;
            }
            let server = TcpStream::connect(("127.0.0.1", server_port)).await.expect("the server behind the proxy");
            tokio::spawn(pass(client, server, loss, struck.clone()));
        }
    });
    port
}

async fn pass(mut client: TcpStream, mut server: TcpStream, loss: Loss, struck: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                // Alone in its message, or followed by the question what became of it.
                let holds = |text: &[u8]| up[..length].windows(text.len()).any(|bytes| bytes == text);
                let commit = holds(b"Q\0\0\0\x0bCOMMIT\0") || holds(b"COMMIT; SELECT pg_xact_status");
                if commit && !struck.swap(true, Ordering::SeqCst) {
                    if loss != Loss::Commit {
                        server.write_all(&up[..length]).await.expect("the server takes the COMMIT");
                        let answer = server.read(&mut down).await.expect("the server answers the COMMIT");
                        assert!(answer > 0, "the server closed instead of answering the COMMIT");
                    }
                    return;
                }
                if server.write_all(&up[..length]).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&down[..length]).await.is_err() { return }
            }
        }
    }
}
