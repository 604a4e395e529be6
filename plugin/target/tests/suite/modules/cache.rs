//! What is kept on disk.

use std::fs;
use target::cache::{Cache, Key};

const KEY: Key<'_> = Key { build_id: &[1, 2, 3, 0xab], kind: "symbols", part: 7, version: 2 };

#[test]
fn what_was_kept_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("made"), 1 << 20);
    assert!(cache.find(&KEY).is_none());
    cache.keep(&KEY, b"facts");
    assert_eq!(&*cache.find(&KEY).unwrap(), b"facts");
    cache.keep(&KEY, b"");
    assert_eq!(&*cache.find(&KEY).unwrap(), b"");
    for other in [
        Key { build_id: &[1, 2, 3], ..KEY },
        Key { kind: "types", ..KEY },
        Key { part: 8, ..KEY },
        Key { version: 3, ..KEY },
        Key { build_id: &[], ..KEY },
    ] {
        assert!(cache.find(&other).is_none(), "{other:?}");
    }
    assert_eq!(fs::read_dir(folder.path().join("made")).unwrap().count(), 1);
}
