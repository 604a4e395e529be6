//! Sizes and speeds for people.

/// A size in bytes, in the largest binary unit that it fills: `17 bytes`, `4 KiB`, `1.25 GiB`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if size < 1024 {
        return if size == 1 { "1 byte".into() } else { format!("{size} bytes") };
    }
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value.fract() == 0.0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// How many bytes a second, in decimal units as memory and disks are sold: `10.8 GB/s`.
pub fn speed(size: u64, seconds: f64) -> String {
    let rate = size as f64 / seconds.max(1e-9);
    if rate >= 1e9 { format!("{:.1} GB/s", rate / 1e9) } else { format!("{:.0} MB/s", rate / 1e6) }
}

/// A time span: `3.2 ms`, `0.18 s`, `12 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 0.1 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else {
        format!("{seconds:.0} s")
    }
}

/// `count` things of a kind whose plural is formed with s.
pub fn plural(count: u64, thing: &str) -> String {
    let plural = match thing {
        "match" if count != 1 => "matches".to_owned(),
        "address" if count != 1 => "addresses".to_owned(),
        _ if count != 1 => format!("{thing}s"),
        _ => thing.to_owned(),
    };
    format!("{count} {plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_use_the_largest_unit_they_fill() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(4096), "4 KiB");
        assert_eq!(bytes(1_342_177_280), "1.25 GiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
    }

    #[test]
    fn speeds_are_decimal() {
        assert_eq!(speed(10_800_000_000, 1.0), "10.8 GB/s");
        assert_eq!(speed(90_000_000, 1.0), "90 MB/s");
        assert_eq!(speed(0, 0.0), "0 MB/s");
    }
}
