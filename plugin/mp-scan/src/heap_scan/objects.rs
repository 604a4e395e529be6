//! What `objects` does.

use super::{Known, Registers};
use crate::course::{Answer, Course};
use analysis::find::Matches;
use analysis::heap::refs::{Pointer, Query};
use analysis::heap::types::Object;
use analysis::{ObjectRow, ObjectRows, Results, Sum};

/// So many objects are gone through between two looks at whether to stop.
const STEP: u64 = 1 << 16;

/// So many pointers to an object are looked at for one that is not its own.
const OWNERS: u64 = 16;

/// Lists the objects whose types match, the first `limit` of them with whoever points to them.
pub fn course(matches: Matches, subclasses: bool, registers: Registers, limit: u64) -> Course {
    Box::new(move |stages, ground| {
        let known = Known::of(stages, ground)?;
        known.check()?;
        stages.control.expect(2 * known.indexed.index.segments().bytes());
        let types = known.types(stages, ground)?;
        let wanted = types.matching(&matches, subclasses);
        let stop = stages.stop_signal();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut sum = Sum::default();
        let mut objects: Vec<Object> = Vec::new();
        for object in types.objects(&known.indexed.index, &wanted) {
            sum.add(object.size);
            if objects.len() < limit {
                objects.push(object);
            }
            if sum.count % STEP == 0 && stop.requested() {
                return Err(stop.failure());
            }
        }
        let mut owners: Vec<Option<Pointer>> = Vec::with_capacity(objects.len());
        if !objects.is_empty() {
            let pointers = known.pointers(stages, ground, &registers)?;
            let view = stages.view(&known.indexed, &[]);
            let lookup = known.indexed.index.lookup();
            let requested = || stop.requested();
            let mut query = Query::new(&pointers.graph, &view, &pointers.area, &requested);
            for object in &objects {
                let found = query.pointers(object.chunk.usable(), OWNERS).map(|found| found.pointers(&lookup));
                // Objects often point to themselves.
                let foreign = |pointer: &Pointer| pointer.place.holder() != Some(object.chunk);
                owners.push(found.and_then(|found| found.into_iter().find(foreign)));
            }
        }
        let mut described = ground.describe(stages, &known, &owners.iter().flatten().collect::<Vec<_>>()).into_iter();
        let row = |(object, owner): (&Object, &Option<Pointer>)| ObjectRow {
            address: object.address,
            type_name: types.list()[object.kind].name.clone(),
            size: object.size,
            allocation: known.allocation(object.chunk.address()).unwrap_or_default(),
            owner: owner.as_ref().and_then(|_| described.next()),
        };
        let rows = objects.iter().zip(&owners).map(row).collect();
        let mut notes = known.notes();
        if sum.count == 0 {
            notes.push(format!(
                "the heap has {} types, and none of them matches: see `mp-scan heap`",
                types.list().len()
            ));
        }
        Ok(Answer::new(Results::Objects(ObjectRows { rows, sum }), sum.count, notes))
    })
}
