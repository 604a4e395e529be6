//! What is kept on disk.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use target::Access;
use target::cache::{Cache, Key};

const KEY: Key<'_> = Key { build_id: &[1, 2, 3, 0xab], kind: "symbols", part: 7, version: 2 };

fn part(part: u64) -> Key<'static> {
    Key { part, ..KEY }
}

/// The names of the files in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn what_was_kept_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for access in [Access::Pread, Access::Mapped] {
        let cache = Cache::open(folder.path().join("made").join(format!("{access:?}")), 1 << 20).access(access);
        assert!(cache.find(&KEY).is_none());
        cache.keep(&KEY, b"facts");
        assert_eq!(&*cache.find(&KEY).unwrap(), b"facts");
        let before = cache.find(&KEY).unwrap();
        cache.keep(&KEY, b"");
        assert_eq!(&*cache.find(&KEY).unwrap(), b"");
        assert_eq!(&*before, b"facts", "what is held stays");
        for other in [
            Key { build_id: &[1, 2, 3], ..KEY },
            Key { kind: "types", ..KEY },
            Key { part: 8, ..KEY },
            Key { version: 3, ..KEY },
        ] {
            assert!(cache.find(&other).is_none(), "{other:?}");
        }
    }
}

#[test]
fn what_cannot_be_told_apart_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().into(), 1 << 20);
    for key in [
        Key { build_id: &[], ..KEY },
        Key { build_id: &[1; 65], ..KEY },
        Key { kind: "", ..KEY },
        Key { kind: "../up", ..KEY },
        Key { kind: "abcdefghijklmnopqrstuvwxyz", ..KEY },
    ] {
        cache.keep(&key, b"facts");
        assert!(cache.find(&key).is_none(), "{key:?}");
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn what_is_damaged_is_not_found_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..200).collect();
    for access in [Access::Pread, Access::Mapped] {
        let cache = Cache::open(folder.path().into(), 1 << 20).access(access);
        cache.keep(&KEY, &content);
        let path = folder.path().join(&names(folder.path())[0]);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                fs::write(&path, damaged).unwrap();
                assert!(cache.find(&KEY).is_none(), "byte {at}");
            }
            fs::write(&path, &whole[..at]).unwrap();
            assert!(cache.find(&KEY).is_none(), "cut at {at}");
        }
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert!(cache.find(&KEY).is_none());
        cache.keep(&KEY, &content);
        assert_eq!(&*cache.find(&KEY).unwrap(), content);

        // What was kept under another key is not found under this one by its name.
        let other = part(8);
        cache.keep(&other, b"other");
        let other = names(folder.path()).into_iter().find(|name| !path.ends_with(name)).unwrap();
        fs::rename(folder.path().join(other), &path).unwrap();
        assert!(cache.find(&KEY).is_none());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(cache.find(&KEY).is_none());
        fs::remove_dir(&path).unwrap();
    }
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("somebody's"), vec![0; 1 << 20]).unwrap();
    let age = |name: &str, hours: u64| {
        let file = fs::File::options().write(true).open(folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).unwrap();
    };
    let limit = 64 << 10;
    let fill = |parts: std::ops::Range<u64>| {
        // A limit so big that nothing goes yet.
        let cache = Cache::open(folder.path().into(), 1 << 30);
        parts.for_each(|number| cache.keep(&part(number), &[1; 6000]));
    };
    fill(10..18);
    for (index, name) in names(folder.path()).iter().filter(|name| name.ends_with(".facts")).enumerate() {
        age(name, 20 - index as u64);
    }
    let cache = Cache::open(folder.path().into(), limit);
    assert!(cache.find(&part(10)).is_some(), "now it has been used last");
    fill(18..20);
    fs::write(folder.path().join(".new-1-1-1.facts"), b"left behind").unwrap();
    fs::write(folder.path().join(".new-2-2-2.facts"), b"being written").unwrap();
    age(".new-1-1-1.facts", 1);
    // Ten files of two pages each are more than the limit.
    cache.keep(&part(20), b"");
    let found: Vec<u64> = (10..=20).filter(|number| cache.find(&part(*number)).is_some()).collect();
    assert_eq!(found, [10, 14, 15, 16, 17, 18, 19, 20]);
    let others = names(folder.path()).into_iter().filter(|name| !name.starts_with("0102"));
    assert_eq!(others.collect::<Vec<_>>(), [".new-2-2-2.facts", "somebody's"]);

    // However much is kept, the folder stays as small as it should.
    let cache = Cache::open(folder.path().into(), limit);
    for number in 100..400 {
        cache.keep(&part(number), &[1; 3000]);
    }
    let files = names(folder.path()).into_iter().filter(|name| name.starts_with("0102"));
    let size: u64 = files.map(|_| 4096).sum();
    assert!((limit / 2..=limit + 8192).contains(&size), "{size}");
    assert!(cache.find(&part(399)).is_some());
    // Nothing is kept that would take much of it alone.
    cache.keep(&part(1), &vec![1; limit as usize / 2]);
    assert!(cache.find(&part(1)).is_none());
    let none = Cache::open(folder.path().into(), 0);
    none.keep(&part(1), b"");
    assert!(cache.find(&part(1)).is_none());
}

/// A process that keeps 250 parts in a folder, four times over, in a shell that has run `before`.
fn keeper(folder: &Path, before: &str) -> Child {
    let script = format!("{before} exec {} keep {}", env!("CARGO_BIN_EXE_target-debuggee"), folder.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// The parts that the process has kept, each of which must be one of those that it ever did.
fn kept(cache: &Cache) -> Vec<u64> {
    let found = |number: &u64| {
        let key = Key { build_id: b"build", kind: "facts", part: *number, version: 1 };
        let Some(kept) = cache.find(&key) else { return false };
        assert!(kept.iter().all(|byte| *byte == *number as u8));
        assert!((0..4).contains(&(kept.len() - *number as usize * 64)));
        true
    };
    (0..250).filter(found).collect()
}

#[test]
fn several_processes_keep_the_same_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made");
    let mut keepers = [keeper(&path, ""), keeper(&path, ""), keeper(&path, "")];
    let caches = [Access::Pread, Access::Mapped].map(|access| Cache::open(path.clone(), 64 << 20).access(access));
    while keepers.iter_mut().any(|keeper| keeper.try_wait().unwrap().is_none()) {
        for cache in &caches {
            kept(cache);
        }
    }
    for mut keeper in keepers {
        assert!(keeper.wait().unwrap().success());
    }
    assert_eq!(kept(&caches[0]).len(), 250);
    assert_eq!(names(&path).len(), 250, "and nothing is left behind");
}

#[test]
fn what_cannot_be_written_is_no_error() {
    // No file of more than 4096 bytes.
    let folder = tempfile::tempdir().unwrap();
    assert!(keeper(folder.path(), "trap '' XFSZ; ulimit -f 8;").wait().unwrap().success());
    let found = kept(&Cache::open(folder.path().into(), 1 << 20));
    assert_eq!(found, (0..63).collect::<Vec<_>>(), "after the first failure it does not try again");
    assert_eq!(names(folder.path()).len(), found.len(), "and nothing is left behind");

    // No folder, and none that can be made.
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for folder in [file.join("below"), file, "/proc/mp-scan".into()] {
        let cache = Cache::open(folder, 1 << 20);
        cache.keep(&KEY, b"facts");
        assert!(cache.find(&KEY).is_none());
    }
}

#[test]
fn a_disk_that_is_full() {
    // In a mount namespace of its own, a disk of 64 KiB.
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_target-debuggee");
    let script = format!("mount -t tmpfs -o size=64k tmpfs $0 && {program} keep $0 && ls -A $0 && exec du -k $0");
    let mut command = Command::new("unshare");
    let command = command.args(["--mount", "--map-root-user", "sh", "-c", &script]).arg(folder.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && error.contains("Operation not permitted") {
        return eprintln!("left out: this user may not mount anything: {error}");
    }
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let files = text.lines().filter(|line| line.ends_with("-facts-1-0.facts") || line.contains("-facts-1-")).count();
    assert!((5..=16).contains(&files), "{text}");
    assert!(!text.contains(".new-"), "{text}");
}

#[test]
fn a_folder_that_may_not_be_written_to() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let cache = || Cache::open(folder.path().into(), 1 << 20);
    cache().keep(&KEY, b"facts");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let program = env!("CARGO_BIN_EXE_target-debuggee");
    let mut command = Command::new(program);
    let command = command.arg("keep").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    if nix::unistd::geteuid().is_root() {
        // The superuser may write anywhere.
        use std::os::unix::process::CommandExt;
        command.uid(65534).gid(65534);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    }
    // A program that this user cannot reach tells nothing.
    match command.status() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return eprintln!("left out: another user cannot run {program}");
        }
        status => assert!(status.unwrap().success()),
    }
    assert_eq!(names(folder.path()).len(), 1);
    assert_eq!(&*cache().find(&KEY).unwrap(), b"facts");
}
