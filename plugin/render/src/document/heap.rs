//! The fields of what the heap commands find.

use super::{MatchRow, hex, hex_bytes, match_row};
use analysis::{
    AllocationRow, BeforeRow, FindingRow, HeapRow, HeapRows, LeakRow, LeakRows, ObjectRow, RefRow, Results, Sum,
};
use serde::Serialize;

/// What stands beside the results of `heap`, `leaks` and `objects`: sums over everything.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Totals {
    Heap {
        used: SumDocument,
        free: SumDocument,
        mapped: SumDocument,
        overhead: u64,
        largest_free: u64,
        fragmentation: f64,
        arenas: u64,
        system: u64,
    },
    Leaks {
        #[serde(flatten)]
        sum: SumDocument,
        unreferenced: SumDocument,
    },
    Objects(SumDocument),
}

#[derive(Serialize)]
pub(super) struct SumDocument {
    count: u64,
    bytes: u64,
}

fn sum(sum: Sum) -> SumDocument {
    SumDocument { count: sum.count, bytes: sum.bytes }
}

pub(super) fn totals(results: &Results) -> Option<Totals> {
    match results {
        Results::Heap(HeapRows { totals, .. }) => Some(Totals::Heap {
            used: sum(totals.used),
            free: sum(totals.free),
            mapped: sum(totals.mapped),
            overhead: totals.overhead,
            largest_free: totals.largest_free,
            fragmentation: totals.fragmentation(),
            arenas: totals.arenas,
            system: totals.system,
        }),
        Results::Leaks(LeakRows { sum: all, unreferenced, .. }) => {
            Some(Totals::Leaks { sum: sum(*all), unreferenced: sum(*unreferenced) })
        }
        Results::Objects(rows) => Some(Totals::Objects(sum(rows.sum))),
        _ => None,
    }
}

#[derive(Serialize)]
pub(super) struct AllocationDocument<'a> {
    start: String,
    size: u64,
    used: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
}

pub(super) fn allocation(row: &AllocationRow) -> AllocationDocument<'_> {
    AllocationDocument { start: hex(row.start), size: row.size, used: row.used, type_name: row.type_name.as_deref() }
}

#[derive(Serialize)]
pub(super) struct HeapDocument<'a> {
    key: &'a str,
    count: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retained: Option<u64>,
}

pub(super) fn heap_row(row: &HeapRow) -> HeapDocument<'_> {
    HeapDocument { key: &row.key, count: row.count, bytes: row.bytes, retained: row.retained }
}

#[derive(Serialize)]
pub(super) struct LeakDocument<'a> {
    address: String,
    size: u64,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_name: Option<&'a str>,
    unreferenced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<SumDocument>,
}

pub(super) fn leak_row(row: &LeakRow) -> LeakDocument<'_> {
    LeakDocument {
        address: hex(row.address),
        size: row.size,
        type_name: row.type_name.as_deref(),
        unreferenced: row.unreferenced,
        holds: row.holds.map(sum),
    }
}

#[derive(Serialize)]
pub(super) struct RefDocument<'a> {
    #[serde(flatten)]
    place: MatchRow<'a>,
    depth: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Vec<MatchRow<'a>>>,
}

pub(super) fn ref_row(row: &RefRow) -> RefDocument<'_> {
    let chain = row.chain.as_ref();
    RefDocument {
        place: match_row(&row.place),
        depth: row.depth,
        chain: chain.map(|chain| chain.iter().map(match_row).collect()),
    }
}

#[derive(Serialize)]
pub(super) struct ObjectDocument<'a> {
    address: String,
    #[serde(rename = "type")]
    type_name: &'a str,
    size: u64,
    allocation: AllocationDocument<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<MatchRow<'a>>,
}

pub(super) fn object_row(row: &ObjectRow) -> ObjectDocument<'_> {
    ObjectDocument {
        address: hex(row.address),
        type_name: &row.type_name,
        size: row.size,
        allocation: allocation(&row.allocation),
        owner: row.owner.as_ref().map(match_row),
    }
}

#[derive(Serialize)]
pub(super) struct FindingDocument<'a> {
    address: String,
    kind: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<AllocationDocument<'a>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    bytes: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    behind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<BeforeDocument<'a>>,
}

#[derive(Serialize)]
struct BeforeDocument<'a> {
    before: AllocationDocument<'a>,
    #[serde(skip_serializing_if = "String::is_empty")]
    bytes: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    behind: String,
}

pub(super) fn finding_row(row: &FindingRow) -> FindingDocument<'_> {
    let nearest = row.before.first();
    let shown = |bytes: fn(&BeforeRow) -> &[u8]| nearest.map(|before| hex_bytes(bytes(before))).unwrap_or_default();
    let earlier = row.before.get(1).map(|BeforeRow { allocation: row, bytes, behind }| BeforeDocument {
        before: allocation(row),
        bytes: hex_bytes(bytes),
        behind: hex_bytes(behind),
    });
    FindingDocument {
        address: hex(row.address),
        kind: &row.kind,
        text: &row.text,
        before: nearest.map(|before| allocation(&before.allocation)),
        bytes: shown(|before| &before.bytes),
        behind: shown(|before| &before.behind),
        earlier,
    }
}
