//! Which worker gets a connection, or a request: what the kernel, or a proxy in front, decides in production.
//!
//! CONTRACT 3.8: without a proxy a connection stays with the worker that accepted it, and workers are not hit evenly.

use super::random::Random;

/// How work is spread over the workers behind the one port.
#[derive(Clone, Debug)]
pub enum Routing {
    /// Each connection goes to a random worker, all equally likely.
    EvenRandom,
    /// Connections go to the workers in turn.
    RoundRobin,
    /// Each connection goes to a random worker with these weights, one per worker; they need not add up to anything.
    Weighted(Vec<f64>),
    /// A proxy that pins by the cookie [`STICKY_COOKIE`], whatever connection a request comes on; a request without it gets a
    /// random worker and the cookie.
    Sticky,
    /// A proxy that pins nothing: a random worker for every request, also on one connection.
    Hopping,
}

/// The cookie of [`Routing::Sticky`]; its value is the worker's number.
pub const STICKY_COOKIE: &str = "hub_route";

impl Routing {
    /// One worker, the last, gets `share` of an even share (`rollout.md` 3 calls it r); the others share the rest evenly.
    pub fn skewed(workers: usize, share: f64) -> Self {
        let others = (workers as f64 - share) / (workers as f64 - 1.0).max(1.0);
        Self::Weighted((0..workers).map(|worker| if worker + 1 == workers { share } else { others }).collect())
    }

    /// Whether a connection belongs to one worker for life.
    pub fn pins_connections(&self) -> bool {
        matches!(self, Self::EvenRandom | Self::RoundRobin | Self::Weighted(_))
    }
}

/// Hands out workers.
#[derive(Debug)]
pub struct Balancer {
    weights: Vec<f64>,
    turn: Option<usize>,
    random: Random,
}

impl Balancer {
    /// For `workers` workers, which must be at least one.
    pub fn new(routing: &Routing, workers: usize, random: Random) -> Self {
        let weights = match routing {
            Routing::Weighted(weights) => {
                assert_eq!(weights.len(), workers, "one weight for each worker");
                weights.clone()
            }
            _ => vec![1.0; workers],
        };
        Self { weights, turn: matches!(routing, Routing::RoundRobin).then_some(0), random }
    }

    /// The next worker.
    pub fn pick(&mut self) -> usize {
        let workers = self.weights.len();
        if let Some(turn) = &mut self.turn {
            let worker = *turn % workers;
            *turn += 1;
            return worker;
        }
        let mut left = self.random.fraction() * self.weights.iter().sum::<f64>();
        for (worker, weight) in self.weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return worker;
            }
        }
        workers - 1
    }
}
