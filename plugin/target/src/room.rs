//! How much memory there is for copies.

use std::path::Path;

/// Bytes that can still be had: of the machine, and of the control groups that this process is in, for a container may have much less.
pub fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let group = std::fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::/")));
    let root = Path::new("/sys/fs/cgroup");
    let groups = group.map(|group| root.join(group));
    let groups = groups.iter().flat_map(|group| group.ancestors().take_while(|folder| folder.starts_with(root)));
    Some(groups.filter_map(room).fold(kibibytes << 10, u64::min))
}

/// Bytes that a control group may still take; `None` if it has no limit.
fn room(group: &Path) -> Option<u64> {
    let number = |name| std::fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_room_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(room(folder.path()), None, "it is not one");
        std::fs::write(folder.path().join("memory.current"), "3000\n").unwrap();
        for (limit, left) in [("max\n", None), ("5000\n", Some(2000)), ("1000\n", Some(0))] {
            std::fs::write(folder.path().join("memory.max"), limit).unwrap();
            assert_eq!(room(folder.path()), left);
        }
        assert!(available() > Some(0));
    }
}
