//! Core files: headers and notes, and what they are laid out as.

#![no_main]

use libfuzzer_sys::fuzz_target;
use target::core;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(contents) = core::parse(bytes) {
        let (extents, regions) = core::lay_out(&contents);
        assert!(extents.is_sorted_by(|a, b| a.range.end <= b.range.start));
        assert!(extents.iter().all(|extent| !extent.range.is_empty()));
        for extent in extents {
            if let core::Content::Core { offset } = extent.content {
                let end = offset.checked_add(extent.range.len());
                assert!(end.is_some_and(|end| end <= contents.length));
            }
        }
        assert!(regions.is_sorted_by(|a, b| a.range.end <= b.range.start));
    }
});
