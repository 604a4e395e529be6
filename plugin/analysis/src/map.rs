//! The rows of `map`: regions, or kinds of regions, with what of them is in memory.

use crate::report::MappingRow;
use std::collections::BTreeMap;
use target::{Backing, Permissions, Region, Residency};

/// A region and what is known of it beside the mapping itself.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    pub region: &'a Region,
    pub residency: Option<Residency>,
    /// Shannon entropy, bits a byte; `None` where it was not asked for, or nothing could be read.
    pub entropy: Option<f64>,
    /// Bytes that the entropy was taken over.
    pub weight: u64,
}

/// What a region is for, in one word.
pub fn kind(region: &Region) -> &'static str {
    let (write, execute) =
        (region.permissions.contains(Permissions::WRITE), region.permissions.contains(Permissions::EXECUTE));
    match &region.backing {
        Backing::Heap => "heap",
        Backing::Stack => "stack",
        Backing::Special { .. } => "special",
        Backing::Shared { .. } => "shared",
        _ if !region.permissions.contains(Permissions::READ) => "reserved",
        _ if execute => "code",
        Backing::File { .. } if write => "data",
        Backing::File { .. } => "file",
        Backing::Anonymous { .. } if region.shared => "shared",
        Backing::Anonymous { .. } => "anonymous",
        Backing::Unknown => "unknown",
    }
}

/// A row for each region, in address order.
pub fn rows(measured: &[Measured<'_>]) -> Vec<MappingRow> {
    let row = |measured: &Measured<'_>| MappingRow {
        range: Some(measured.region.range),
        permissions: Some(measured.region.permissions),
        shared: measured.region.shared,
        kind: kind(measured.region).into(),
        name: measured.region.name().map(str::to_owned),
        count: None,
        size: measured.region.range.len(),
        resident: measured.residency.map(|residency| residency.resident),
        swapped: measured.residency.map(|residency| residency.swapped),
        entropy: measured.entropy,
    };
    measured.iter().map(row).collect()
}

/// A row for each kind, the largest first. Its entropy is the mean over its bytes.
pub fn summary(measured: &[Measured<'_>]) -> Vec<MappingRow> {
    let mut kinds: BTreeMap<&str, (MappingRow, f64, u64)> = BTreeMap::new();
    for part in measured {
        let kind = kind(part.region);
        let empty = || MappingRow {
            range: None,
            permissions: None,
            shared: false,
            kind: kind.into(),
            name: None,
            count: Some(0),
            size: 0,
            resident: None,
            swapped: None,
            entropy: None,
        };
        let (row, bits, weight) = kinds.entry(kind).or_insert_with(|| (empty(), 0.0, 0));
        row.count = row.count.map(|count| count + 1);
        row.size += part.region.range.len();
        if let Some(residency) = part.residency {
            row.resident = Some(row.resident.unwrap_or(0) + residency.resident);
            row.swapped = Some(row.swapped.unwrap_or(0) + residency.swapped);
        }
        if let Some(entropy) = part.entropy {
            *bits += entropy * part.weight as f64;
            *weight += part.weight;
        }
    }
    let mut rows: Vec<MappingRow> = kinds
        .into_values()
        .map(|(row, bits, weight)| MappingRow { entropy: (weight > 0).then(|| bits / weight as f64), ..row })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.size));
    rows
}
