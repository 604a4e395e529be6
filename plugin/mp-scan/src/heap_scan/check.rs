//! What `heap --check` does.

use super::Known;
use crate::course::{Answer, Course};
use analysis::heap::glibc::{Before, Check, Finding, Findings};
use analysis::{AllocationRow, BeforeRow, FindingRow, Results};

/// Checks the heap, and shows the first `limit` things that are wrong.
pub fn course(limit: u64) -> Course {
    Box::new(move |stages, ground| {
        let known = Known::of(stages, ground, 1)?;
        known.check()?;
        known.copied(stages, ground)?;
        let checked = stages.run(&Check::new(&known.located, &ground.space), &known.indexed, &[])?.merge;
        let lookup = known.indexed.index.lookup();
        let findings =
            Findings::new(&known.located, &known.walked, &known.free, &checked, &*stages.reading.memory, &lookup);
        let total = findings.list.len() as u64 + findings.more;
        let before = |before: Before| {
            let Before { address: start, size, used, bytes, behind } = before;
            let type_name = known.allocation(start).and_then(|known| known.type_name);
            BeforeRow { allocation: AllocationRow { start, size, used, type_name }, bytes, behind }
        };
        let row = |Finding { address, kind, text, before: chunks }: Finding| {
            let before = chunks.into_iter().map(before).collect();
            FindingRow { address, kind: kind.to_string(), text, before }
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rows = findings.list.into_iter().take(limit).map(row).collect();
        // What does not add up is in the findings.
        Ok(Answer::new(Results::Findings(rows), total, known.state()))
    })
}
