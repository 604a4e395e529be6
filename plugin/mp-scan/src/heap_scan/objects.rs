//! What `objects` does.

use super::{Known, Registers};
use crate::course::{Answer, Course, Ground};
use analysis::find::Matches;
use analysis::heap::refs::{self, Place, Pointer, Query};
use analysis::heap::types::Object;
use analysis::{ObjectRow, ObjectRows, Results, Sum};

/// So many objects are gone through between two looks at whether to stop.
const STEP: u64 = 1 << 16;

/// So many pointers to an object are looked at for the one that most likely holds it.
const OWNERS: u64 = 256;

/// Lists the objects whose types match, the first `limit` of them with whoever points to them.
pub fn course(matches: Matches, subclasses: bool, registers: Registers, limit: u64) -> Course {
    Box::new(move |stages, ground| {
        let known = Known::of(stages, ground, 2)?;
        known.check()?;
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
            let named = registers.named();
            let mut query = Query::new(&pointers.graph, &view, &pointers.area, &requested);
            for object in &objects {
                let target = object.chunk.usable();
                let found = query.pointers(target, OWNERS).map(|found| found.pointers(&lookup)).unwrap_or_default();
                let all = found.into_iter().chain(refs::in_registers(&named, target));
                owners.push(owner(object, all, ground));
            }
        }
        let mut described =
            ground.describe(stages, &known, &registers, &owners.iter().flatten().collect::<Vec<_>>()).into_iter();
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
            notes.push(match types.list().len() {
                0 => "it is not known of anything in the heap what type it has".to_owned(),
                1 => "the heap has one type, which does not match: see `mp-scan heap`".to_owned(),
                count => format!("the heap has {count} types, and none of them matches: see `mp-scan heap`"),
            });
        }
        Ok(Answer::new(Results::Objects(ObjectRows { rows, sum }), sum.count, notes))
    })
}

/// Of those who point to an object, the one that most likely holds it: no object itself, nothing that has been freed, and no thread's
/// stack or register where there is anything else, since those keep what they no longer need.
fn owner(object: &Object, pointers: impl Iterator<Item = Pointer>, ground: &Ground) -> Option<Pointer> {
    let doubt = |pointer: &Pointer| match &pointer.place {
        Place::Memory { chunk: Some(chunk), .. } => (chunk.used && *chunk != object.chunk).then_some(0),
        Place::Memory { address, chunk: None } => Some(u32::from(ground.is_stack(*address))),
        Place::Register { .. } => Some(2),
    };
    let begins = |pointer: &Pointer| [object.address, object.chunk.address()].contains(&pointer.value);
    let ranked = pointers.filter_map(|pointer| Some(((doubt(&pointer)?, !begins(&pointer)), pointer)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, pointer)| pointer)
}
