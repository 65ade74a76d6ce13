//! Flags in a `.env` file, through the library: what a write keeps, what it refuses, and what is left after a crash.
//!
//! Some tests run this test binary again as another process, user or under a limit: see [`Child`].

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use llmhub::domain::flags::env_names::EnvMapping;
use llmhub::domain::flags::{
    Change, Flag, FlagKey, ListName, StoredPercent, change::DateEdit, change::changed_members,
};
use llmhub::store::env_file::{EnvFlags, PredictError};
use llmhub::store::{Depth, Edit, FlagStore, Note, Saved, Stance, StoreError};
use tempfile::TempDir;

const HUB: &str = "unified_llm_hub";

/// A file in a folder of its own, and the store on it.
struct Case {
    folder: TempDir,
    path: PathBuf,
}

impl Case {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, text).unwrap();
        Self { folder, path }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The names in the folder: nothing temporary may stay.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn change(&self, change: Change) -> Result<Saved, StoreError> {
        change_at(&self.path, HUB, change)
    }
}

fn key(name: &str) -> FlagKey {
    name.parse().unwrap()
}

fn percent(share: i64) -> Change {
    Change::Percentage(share.try_into().unwrap())
}

fn store(path: &Path) -> EnvFlags {
    EnvFlags::new(path, EnvMapping::shipped())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn flag_at(path: &Path) -> Flag {
    wait(store(path).get(&key(HUB))).unwrap()
}

fn save(path: &Path, seen: Flag, change: &Change) -> Result<Saved, StoreError> {
    let wanted = change.apply(&seen);
    let members = changed_members(&seen, &wanted);
    let edit = Edit { seen, wanted, members, also_seen: Vec::new(), stance: Stance::Careful };
    let note = Note { actor: "ana@host".into(), reason: None, operation: "test" };
    wait(store(path).save(&edit, &note))
}

fn change_at(path: &Path, name: &str, change: Change) -> Result<Saved, StoreError> {
    let seen = wait(store(path).get(&key(name)))?;
    save(path, seen, &change)
}

/// This test binary once more, running [`child`] with one job.
struct Child {
    command: Command,
    /// A copy of the program, for a user who cannot reach the original.
    _copy: Option<TempDir>,
}

impl Child {
    const JOB: &str = "LLMHUB_TEST_JOB";
    const PATH: &str = "LLMHUB_TEST_PATH";
    const ARGUMENTS: [&str; 4] = ["--exact", "env_file::child", "--ignored", "--nocapture"];

    fn new(job: &str, path: &Path) -> Self {
        Self::of(Command::new(std::env::current_exe().unwrap()), job, path)
    }

    /// Run by nobody, if the tests run as root, who may do everything. The build folder may be closed to others, so nobody
    /// runs a copy.
    fn without_rights(job: &str, path: &Path) -> Self {
        if !is_root() {
            return Self::new(job, path);
        }
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let copy = folder.path().join("tests");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut child = Self::of(Command::new(copy), job, path);
        child.command.uid(65534).gid(65534);
        Self { _copy: Some(folder), ..child }
    }

    /// Run through `sh` with this preparation, such as a limit.
    fn after(preparation: &str, job: &str, path: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{preparation}; exec \"$@\""), "sh"]).arg(std::env::current_exe().unwrap());
        Self::of(shell, job, path)
    }

    fn of(mut command: Command, job: &str, path: &Path) -> Self {
        command.args(Self::ARGUMENTS).env(Self::JOB, job).env(Self::PATH, path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, _copy: None }
    }

    fn start(mut self) -> std::process::Child {
        self.command.spawn().unwrap()
    }

    fn output(mut self) -> Output {
        self.command.output().unwrap()
    }

    /// Run to a good end.
    fn succeed(self) {
        let output = self.output();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The jobs of other processes.
#[test]
#[ignore = "other tests run it as their child process"]
#[allow(clippy::disallowed_methods, reason = "a child gets its job through its environment")]
fn child() {
    let path = PathBuf::from(std::env::var_os(Child::PATH).unwrap());
    let job = std::env::var(Child::JOB).unwrap();
    match job.as_str() {
        "hold the lock" => {
            let lock = fs::File::create(path.with_file_name(".env.lock")).unwrap();
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
            fs::write(path.with_file_name(".env.lock"), format!("{}\n", std::process::id())).unwrap();
            fs::write(path.with_file_name("ready"), "").unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
        "write for ever" => loop {
            let share = if flag_at(&path).percentage == StoredPercent::Number(11) { 22 } else { 11 };
            change_at(&path, HUB, percent(share)).unwrap();
        },
        "write" => {
            change_at(&path, HUB, percent(50)).unwrap();
        }
        "fail to write" => {
            let error = change_at(&path, HUB, percent(50)).unwrap_err();
            assert!(matches!(error, StoreError::Local(_)), "{error:?}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        "be refused" => {
            let error = change_at(&path, HUB, percent(50)).unwrap_err();
            assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
            assert!(error.to_string().contains("belongs to user 0"), "{error}");
        }
        "fill the disk" => {
            let old = format!("A={}\n", "x".repeat(12 * 1024));
            fs::write(&path, &old).unwrap();
            let error = change_at(&path, HUB, percent(50)).unwrap_err();
            assert!(matches!(error, StoreError::Local(_)), "{error:?}");
            assert!(error.to_string().contains("No space left"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), old);
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        }
        other => {
            let (first, count) = other.split_once('+').unwrap();
            for number in 0..count.parse().unwrap() {
                add(&path, &format!("{first}-{number}"));
            }
        }
    }
}

/// Add a user, again after each lost race.
fn add(path: &Path, user: &str) {
    loop {
        match change_at(path, HUB, Change::Add(ListName::White, vec![user.to_owned()])) {
            Ok(_) => return,
            Err(StoreError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_write_changes_its_values_and_no_other_byte() {
    let before = "# hub\r\nSECRET='a # b'\r\n\r\nexport FEATURE_LLM_HUB_ROLLOUT = \"10\" # ten\r\nLAST=1";
    let case = Case::new(before);
    let saved = case.change(percent(25)).unwrap();
    assert_eq!((saved.changed, saved.persisted), (true, true));
    assert_eq!(saved.after.percentage, StoredPercent::Number(25));
    assert!(saved.notes.is_empty(), "{:?}", saved.notes);
    assert_eq!(case.text(), before.replace("\"10\"", "\"25\""));
    case.change(Change::Enable).unwrap();
    assert_eq!(case.text(), before.replace("\"10\"", "\"25\"") + "\r\nFEATURE_UNIFIED_LLM_HUB=true\r\n");
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn a_write_keeps_the_mode() {
    for mode in [0o600, 0o640, 0o644, 0o400, 0o664] {
        let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
        case.mode(mode);
        case.change(percent(25)).unwrap();
        assert_eq!(fs::metadata(&case.path).unwrap().mode() & 0o7777, mode, "{mode:o}");
    }
}

#[test]
fn a_write_keeps_the_owner_or_is_refused() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    if !is_root() {
        // Nobody else's file can be made without rights; that the own group stays is what is left to see.
        case.change(percent(25)).unwrap();
        assert_eq!(fs::metadata(&case.path).unwrap().gid(), rustix::process::getegid().as_raw());
        return;
    }
    std::os::unix::fs::chown(&case.path, Some(12345), Some(54321)).unwrap();
    case.change(percent(25)).unwrap();
    let metadata = fs::metadata(&case.path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));

    let foreign = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    std::os::unix::fs::chown(foreign.folder.path(), Some(65534), Some(65534)).unwrap();
    Child::without_rights("be refused", &foreign.path).succeed();
    assert_eq!(foreign.text(), "FEATURE_LLM_HUB_ROLLOUT=10\n");
    assert_eq!(foreign.names(), [".env"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_keeps_the_access_list() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    const NAME: &str = "system.posix_acl_access";
    // Version 2; then tag, permissions and id of owner, user 12345, group, mask, others.
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 12345), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    setxattr(&case.path, NAME, &list, XattrFlags::empty()).unwrap();
    case.change(percent(25)).unwrap();
    let mut kept = vec![0; 256];
    let length = getxattr(&case.path, NAME, kept.as_mut_slice()).unwrap();
    assert_eq!(kept[..length], list);
}

#[test]
fn a_symbolic_link_stays_and_its_target_is_edited() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    let elsewhere = TempDir::new().unwrap();
    let link = elsewhere.path().join("link");
    symlink(&case.path, elsewhere.path().join("hop")).unwrap();
    symlink("hop", &link).unwrap();
    change_at(&link, HUB, percent(25)).unwrap();
    assert_eq!(case.text(), "FEATURE_LLM_HUB_ROLLOUT=25\n");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("hop"));
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn other_hard_links_keep_the_old_content_and_that_is_said() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    let backup = case.folder.path().join("backup");
    fs::hard_link(&case.path, &backup).unwrap();
    let saved = case.change(percent(25)).unwrap();
    assert_eq!(saved.notes, [format!("{} has other hard links, which keep the old content", case.path.display())]);
    assert_eq!(fs::read_to_string(backup).unwrap(), "FEATURE_LLM_HUB_ROLLOUT=10\n");
}

#[test]
fn what_is_not_an_env_file_is_refused_with_the_reason() {
    #[track_caller]
    fn case(path: &Path, words: &str) {
        let started = Instant::now();
        let error = change_at(path, HUB, Change::Enable).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(path.to_str().unwrap()), "{error}");
        assert!(started.elapsed() < Duration::from_secs(4), "it hung");
    }
    let folder = TempDir::new().unwrap();
    // The temporary folder may itself stand behind a link.
    let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
    case(&at("missing"), "does not exist, and an edit does not invent one; create it with `install -m 600");
    symlink("missing", at("dangling")).unwrap();
    case(&at("dangling"), "does not exist");
    symlink("loop", at("loop")).unwrap();
    case(&at("loop"), "is a loop of symbolic links");
    fs::create_dir(at("folder")).unwrap();
    case(&at("folder"), "is not a regular file");
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    case(&at("pipe"), "is not a regular file");
    fs::write(at("latin"), b"A=1\nB=caf\xe9\n").unwrap();
    case(&at("latin"), "line 2: the text is not UTF-8");
    fs::write(at("broken"), "A=1\nB='x\n").unwrap();
    case(&at("broken"), "line 2: the quote of B is not closed");
    fs::write(at("large"), "#".repeat(8 * 1024 * 1024 + 1)).unwrap();
    case(&at("large"), "is larger than 8 MiB");
}

#[test]
fn a_file_of_exactly_8_mib_is_edited() {
    let line = "FEATURE_LLM_HUB_ROLLOUT=10\n";
    let case = Case::new(format!("{line}{}", "#".repeat(8 * 1024 * 1024 - line.len())));
    case.change(percent(25)).unwrap();
    assert!(case.text().starts_with("FEATURE_LLM_HUB_ROLLOUT=25\n"));
}

#[test]
fn a_write_on_what_somebody_else_changed_is_a_conflict() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    let seen = flag_at(&case.path);
    case.change(Change::Add(ListName::Black, vec!["eve".into()])).unwrap();
    let before = case.text();
    let error = save(&case.path, seen, &percent(25)).unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)));
    assert_eq!(
        error.to_string(),
        format!(
            "blacklist_users of `unified_llm_hub` was changed in {} since it was read; nothing was written, look at it again",
            case.path.display()
        )
    );
    assert_eq!(case.text(), before);
}

#[test]
fn writing_what_is_there_touches_nothing() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    let before = fs::metadata(&case.path).unwrap();
    let saved = case.change(percent(10)).unwrap();
    assert_eq!((saved.changed, saved.persisted), (false, true));
    let after = fs::metadata(&case.path).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn editors_in_threads_and_processes_lose_nothing() {
    let case = Case::new("# keep\nFEATURE_LLM_HUB_WHITELIST=\n");
    let processes: Vec<_> = (0..3).map(|n| Child::new(&format!("process{n}+8"), &case.path).start()).collect();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let path = &case.path;
            scope.spawn(move || (0..8).for_each(|number| add(path, &format!("thread{thread}-{number}"))));
        }
    });
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let mut users = flag_at(&case.path).whitelist.unwrap();
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 48);
    assert!(case.text().starts_with("# keep\n"));
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn a_held_lock_is_a_conflict_that_names_its_holder_and_a_dead_holder_is_none() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    let mut holder = Child::new("hold the lock", &case.path).start();
    let started = Instant::now();
    while !case.names().contains(&"ready".to_owned()) {
        assert!(started.elapsed() < Duration::from_secs(20), "the holder did not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    let started = Instant::now();
    let error = case.change(percent(25)).unwrap_err();
    assert!((5..8).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    assert!(error.to_string().contains(&format!("(process {})", holder.id())), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let started = Instant::now();
    case.change(percent(25)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(case.names(), [".env", "ready"]);
}

/// Larger than one block of any shell's `ulimit -f`.
fn long_file() -> Case {
    Case::new(format!("SECRET={}\nFEATURE_LLM_HUB_ROLLOUT=10\n", "s".repeat(4000)))
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let case = long_file();
    let before = case.text();
    // With the signal ignored, a file over the limit fails as on a full disk: in the middle of the content.
    Child::after("trap '' XFSZ; ulimit -f 1", "fail to write", &case.path).succeed();
    assert_eq!(case.text(), before);
    assert_eq!(case.names(), [".env"]);
    if is_root() {
        // A disk that is really full, in a mount namespace that ends with the child.
        let folder = TempDir::new().unwrap();
        let mount = format!("mount -t tmpfs -o size=20k tmpfs '{}' || exit 99", folder.path().display());
        let inner = Child::after(&mount, "fill the disk", &folder.path().join(".env"));
        let mut outer = Command::new("unshare");
        outer.arg("--mount").arg(inner.command.get_program()).args(inner.command.get_args());
        let envs = inner.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let output = outer.envs(envs).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        // A container may forbid mounts even to root; then the limit above stands for the disk.
        let forbidden = output.status.code() == Some(99) || text.contains("unshare failed");
        assert!(forbidden || output.status.success() && text.contains("1 passed"), "{text}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_with_the_path() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    case.mode(0o666);
    fs::set_permissions(case.folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    Child::without_rights("fail to write", &case.path).succeed();
    fs::set_permissions(case.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(case.text(), "FEATURE_LLM_HUB_ROLLOUT=10\n");
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_file_and_the_next_write_cleans_up() {
    let case = long_file();
    let before = case.text();
    // The signal of the file size limit kills the writer while it writes the temporary file.
    let output = Child::after("ulimit -c 0; ulimit -f 1", "write", &case.path).output();
    assert_eq!(output.status.signal(), Some(25), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(case.text(), before);
    assert_eq!(case.names(), ["..env.llmhub-tmp", ".env", ".env.lock"]);
    let left = fs::metadata(case.folder.path().join("..env.llmhub-tmp")).unwrap();
    assert_eq!(left.mode() & 0o777, 0o600);
    case.change(percent(25)).unwrap();
    assert_eq!(case.text(), before.replace("=10", "=25"));
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one() {
    let case = Case::new(format!("SECRET={}\nFEATURE_LLM_HUB_ROLLOUT=11\n", "s".repeat(200_000)));
    let states = [11, 22].map(|share| case.text().replace("ROLLOUT=11", &format!("ROLLOUT={share}")));
    for round in 0..12 {
        let before = fs::metadata(&case.path).unwrap().ino();
        let mut writer = Child::new("write for ever", &case.path).start();
        // A loaded machine may take long to start it; once the file was replaced, it is in the middle of the next edits.
        let deadline = Instant::now() + Duration::from_secs(30);
        while fs::metadata(&case.path).unwrap().ino() == before {
            assert!(Instant::now() < deadline, "no writer lived long enough to write in round {round}");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert!(states.contains(&case.text()), "neither old nor new in round {round}");
    }
    let started = Instant::now();
    case.change(percent(33)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "a dead writer blocks");
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn the_prediction_is_what_a_hub_would_load() {
    let case =
        Case::new("FEATURE_UNIFIED_LLM_HUB=TRUE\nFEATURE_LLM_HUB_ROLLOUT=1_0\nFEATURE_LLM_HUB_WHITELIST=' a , b '\n");
    let flag = store(&case.path).predict(&key(HUB)).unwrap();
    assert_eq!((flag.is_enabled(), flag.percentage.clone()), (true, StoredPercent::Number(10)));
    assert_eq!(flag.white(), ["a", "b"]);
    assert_eq!(flag.owner.as_deref(), Some("platform-team"));
    let error = store(&case.path).predict(&key("nope")).unwrap_err();
    assert_eq!(error.to_string(), "env has no flag `nope`");
}

#[test]
fn a_value_that_stops_the_import_is_predicted_shown_and_repaired() {
    let case = Case::new("FEATURE_ANALYTICS_ROLLOUT=abc\nFEATURE_LLM_HUB_ROLLOUT=25%\n");
    let words = "is not a whole number: the hub stops at its import, so no flag is loaded at all";
    let path = case.path.canonicalize().unwrap();
    let predicted = |line, variable: &str| {
        let error = store(&case.path).predict(&key(HUB)).unwrap_err();
        assert!(matches!(error, PredictError::ImportFails { .. }));
        assert_eq!(error.to_string(), format!("{}: line {line}: {variable} {words}", path.display()));
    };
    predicted(2, "FEATURE_LLM_HUB_ROLLOUT");
    assert_eq!(flag_at(&case.path).percentage, StoredPercent::Null);
    let saved = case.change(percent(25)).unwrap();
    assert_eq!(saved.notes, [format!("line 1: FEATURE_ANALYTICS_ROLLOUT {words}")]);
    predicted(1, "FEATURE_ANALYTICS_ROLLOUT");
    change_at(&case.path, "advanced_analytics", percent(0)).unwrap();
    assert!(store(&case.path).predict(&key(HUB)).is_ok());
    assert_eq!(case.text(), "FEATURE_ANALYTICS_ROLLOUT=0\nFEATURE_LLM_HUB_ROLLOUT=25\n");
}

#[test]
fn a_value_that_readers_may_expand_makes_the_prediction_unknown() {
    let case = Case::new("FEATURE_LLM_HUB_WHITELIST=$ADMINS\n");
    let error = store(&case.path).predict(&key(HUB)).unwrap_err();
    assert!(matches!(error, PredictError::Unknown { line: 1, .. }), "{error}");
    let saved = case.change(percent(25)).unwrap();
    assert_eq!(saved.notes, ["line 1: FEATURE_LLM_HUB_WHITELIST holds a `$` that readers may expand"]);
    assert_eq!(case.text(), "FEATURE_LLM_HUB_WHITELIST=$ADMINS\nFEATURE_LLM_HUB_ROLLOUT=25\n");
}

#[test]
fn what_the_variables_cannot_say_is_refused_and_nothing_is_written() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=10\n");
    let white = |user: &str| Change::Add(ListName::White, vec![user.to_owned()]);
    let black = Change::Add(ListName::Black, vec!["a".to_owned()]);
    let error = change_at(&case.path, "advanced_analytics", black).unwrap_err();
    assert!(matches!(&error, StoreError::Unsupported { hint, .. } if hint.contains("--via db")), "{error:?}");
    for user in ["ana,bob", " ana-bob", "ana\nbob", "${HOME}", "it's $5"] {
        let error = case.change(white(user)).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{user}: {error:?}");
        assert!(!error.to_string().contains(user), "{error}");
    }
    assert_eq!(case.text(), "FEATURE_LLM_HUB_ROLLOUT=10\n");
    assert_eq!(case.names(), [".env"]);
}

#[test]
fn dates_are_written_and_clearing_them_removes_their_lines() {
    let case = Case::new("A=1\n");
    let start = DateEdit::Set("2026-01-31T18:00:00".into());
    let saved = case.change(Change::Schedule { start, end: DateEdit::Keep }).unwrap();
    assert_eq!(saved.after.start.as_deref(), Some("2026-01-31T18:00:00"));
    assert_eq!(case.text(), "A=1\nFEATURE_LLM_HUB_START_DATE=2026-01-31T18:00:00\n");
    let saved = case.change(Change::Schedule { start: DateEdit::Clear, end: DateEdit::Clear }).unwrap();
    assert_eq!(saved.after.start, None);
    assert_eq!(case.text(), "A=1\n");
}

#[test]
fn of_duplicates_the_winning_one_is_edited_and_that_is_said() {
    let case = Case::new("FEATURE_LLM_HUB_ROLLOUT=1\nFEATURE_LLM_HUB_ROLLOUT=2\n");
    assert_eq!(flag_at(&case.path).percentage, StoredPercent::Number(2));
    let saved = case.change(percent(3)).unwrap();
    assert_eq!(saved.notes, ["FEATURE_LLM_HUB_ROLLOUT is also set on line 1; only the last one counts and was edited"]);
    assert_eq!(case.text(), "FEATURE_LLM_HUB_ROLLOUT=1\nFEATURE_LLM_HUB_ROLLOUT=3\n");
}

#[test]
fn a_survey_of_a_file_has_one_state() {
    let case = Case::new("");
    let survey = wait(store(&case.path).survey(Depth::Glance)).unwrap();
    assert_eq!((survey.variants.len(), survey.variants[0].flags.len()), (1, 3));
    assert!(survey.live.is_none());
    assert_eq!(survey.variants[0].addresses, [case.path.display().to_string()]);
}
