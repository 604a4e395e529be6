//! What `leaks` does.

use super::{Known, Registers};
use crate::course::{Answer, Course};
use analysis::heap::leaks::{Leak, LeakEdges, Leaks};
use analysis::heap::mark::{Mark, Marking};
use analysis::heap::types::Types;
use analysis::{LeakGroup, LeakRow, LeakRows, Results, Sum};
use std::collections::BTreeMap;

/// What is put in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    Size,
    Type,
    /// Heads of the same size and type.
    Both,
}

impl std::str::FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "size" => Ok(Self::Size),
            "type" => Ok(Self::Type),
            _ => Err("leaks are grouped by size or by type".to_owned()),
        }
    }
}

/// Marks what is reached, and puts what is not under its heads.
pub fn course(grouping: Grouping, registers: Registers, limit: u64) -> Course {
    Box::new(move |stages, ground| {
        let known = Known::of(stages, ground, 2)?;
        known.check()?;
        let index = &known.indexed.index;
        known.copied(stages, ground)?;
        let roots = known.roots(stages, ground, &registers);
        let marks = stages.tables(&Mark::tables(index.segments()))?;
        let view = stages.view(&known.indexed, &marks);
        let marked = Marking::new(roots.clone()).run(&view, |mark| stages.run(mark, &known.indexed, &marks))?;
        let edges = stages.run(&LeakEdges::new(&view, &roots), &known.indexed, &marks)?.merge;
        stages.skipped.extend(marked.skipped.iter().chain(&edges.skipped).cloned());
        let stop = stages.stop_signal();
        let leaks = Leaks::new(&view, edges, &|| stop.requested()).ok_or_else(|| stop.failure())?;
        let types = known.types_among(stages, ground, Some(&roots))?;
        let mut notes = known.notes();
        notes.extend(roots.notes());
        if marked.incomplete {
            notes.push("workers died of parts of the heap, so what is shown may be reached after all".to_owned());
        }
        let rows = LeakRows { unused: known.located.is_unused(), ..rows(&leaks, &types, grouping, limit) };
        Ok(Answer::new(Results::Leaks(rows), leaks.len() as u64, notes))
    })
}

fn rows(leaks: &Leaks, types: &Types, grouping: Grouping, limit: u64) -> LeakRows {
    let name = |leak: &Leak| types.name_of(leak.number);
    let row = |leak: Leak| LeakRow {
        address: leak.address,
        size: leak.size,
        type_name: name(&leak),
        unreferenced: leak.unreferenced,
        holds: (leak.head == leak.address).then_some(leak.holds),
    };
    let sum = Sum { count: leaks.len() as u64, bytes: leaks.bytes() };
    let mut unreferenced = Sum::default();
    for leak in leaks.iter().filter(|leak| leak.unreferenced) {
        unreferenced.add(leak.size);
    }
    let mut groups: BTreeMap<(Option<u64>, Option<String>, bool), LeakGroup> = BTreeMap::new();
    for head in leaks.heads() {
        let size = (grouping != Grouping::Type).then_some(head.size);
        let type_name = (grouping != Grouping::Size).then(|| name(&head)).flatten();
        let ring = !head.unreferenced;
        let group = groups.entry((size, type_name.clone(), ring)).or_insert_with(|| LeakGroup {
            size,
            type_name,
            ring,
            example: head.address,
            ..LeakGroup::default()
        });
        group.heads.add(head.size);
        group.holds.count += head.holds.count;
        group.holds.bytes += head.holds.bytes;
    }
    let mut groups: Vec<LeakGroup> = groups.into_values().collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.heads.bytes + group.holds.bytes), group.example));
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    groups.truncate(limit);
    LeakRows { rows: leaks.iter().take(limit).map(row).collect(), groups, sum, unreferenced, unused: false }
}
