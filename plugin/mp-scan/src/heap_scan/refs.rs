//! What `refs` does.

use super::{Known, Registers};
use crate::course::{Answer, Course, Failure, Ground, Stages};
use analysis::heap::refs::{self, Pointer, Pointers, Query, Reference};
use analysis::{RefRow, Results};
use std::sync::Arc;
use target::AddressRange;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub target: Wanted,
    /// Over how many pointers.
    pub depth: u32,
    /// Whether also the ways from roots are wanted.
    pub to_roots: bool,
    pub limit: u64,
}

/// What is pointed to.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// The allocation at an address, or the address.
    Address(u64),
    Range(AddressRange),
}

/// Ways from roots are shown over so many pointers.
const LONGEST: usize = 64;

/// Looks for pointers, as deep as is asked.
pub fn course(question: Question, registers: Registers) -> Course {
    Box::new(move |stages, ground| {
        // Which allocation an address lies in is known only after the walk; what is near is not much more.
        let deep = question.depth > 1 || question.to_roots;
        let (known, sightings) = Known::watching(stages, ground, deep.into(), |segments| match question.target {
            Wanted::Range(range) => Some(range),
            Wanted::Address(address) => Some(refs::around(segments, address)),
        })?;
        let lookup = known.indexed.index.lookup();
        let target = match question.target {
            Wanted::Range(range) => range,
            Wanted::Address(address) => refs::target(&lookup, address),
        };
        let limit = usize::try_from(question.limit).unwrap_or(usize::MAX);
        if deep && !known.is_covered() {
            known.check()?;
        }
        let pointers =
            if deep { Some(known.pointers(stages, ground, &registers)?) } else { known.known_pointers(stages) };
        let view = stages.view(&known.indexed, &[]);
        let stop = stages.stop_signal();
        let requested = || stop.requested();
        let mut query = pointers.as_ref().map(|kept| Query::new(&kept.graph, &view, &kept.area, &requested));
        let mut found = known.inverted(stages, target, question.limit);
        if found.is_none() {
            found = query.as_mut().and_then(|query| query.pointers(target, question.limit));
        }
        if found.is_none() && !known.is_inverted() && known.is_searched_often() {
            match known.invert(stages, ground, &registers) {
                // It is searched without, then.
                Ok(()) | Err(Failure::Failed(_)) => {}
                Err(stopped) => return Err(stopped),
            }
            found = known.inverted(stages, target, question.limit);
        }
        let found = match found {
            Some(found) => found,
            None => {
                let area = known.area(stages, ground, &registers);
                let seen = sightings.of(target, &lookup);
                let area = if seen.is_some() { area.beside_chains(lookup.segments()) } else { area };
                let search = Pointers { area, target, most: question.limit };
                let mut found = stages.run(&search, &known.indexed, &[])?.merge;
                found.add(seen.unwrap_or_default(), question.limit);
                found
            }
        };
        let mut direct = found.pointers(&lookup);
        let named = registers.named();
        let from_registers: Vec<_> = refs::in_registers(&named, target).collect();
        let total = found.total + from_registers.len() as u64;
        direct.extend(from_registers);
        let mut answer = match &mut query {
            Some(query) if question.depth > 1 => query.deeper(target, direct, total, question.depth, limit),
            _ => refs::Answer::direct(direct, total, limit),
        };
        if let Some(query) = query.as_mut().filter(|_| question.to_roots)
            && !query.chains(&mut answer.references, LONGEST)
        {
            return Err(stop.failure());
        }
        if answer.stopped {
            return Err(stop.failure());
        }
        let rows = rows(&answer.references, stages, ground, &known, &registers)?;
        let mut notes = known.notes();
        let lost = rows.iter().filter(|row| row.chain.is_none()).count();
        if question.to_roots && lost > 0 {
            notes.push(format!("no root reaches {lost} of them: they lie in what has leaked or been freed"));
        }
        let mut answer = Answer::new(Results::Refs(rows), answer.total, notes);
        if !known.is_inverted() && ground.moment.is_some() {
            let known = Arc::clone(&known);
            answer.afterwards = Some(Box::new(move |stages, ground| {
                // Without it the next question is answered as this one was.
                let _ = known.invert(stages, ground, &registers);
            }));
        }
        Ok(answer)
    })
}

fn rows(
    references: &[Reference],
    stages: &mut Stages,
    ground: &Ground,
    known: &Known,
    registers: &Registers,
) -> Result<Vec<RefRow>, Failure> {
    let all = references.iter().flat_map(|reference| {
        let links = reference.chain.iter().flat_map(|chain| &chain.links);
        std::iter::once(&reference.pointer).chain(links)
    });
    let all: Vec<&Pointer> = all.collect();
    match known.glance(stages, ground, all.iter().filter_map(|pointer| pointer.place.address())) {
        // They are shown without types, then.
        Ok(()) | Err(Failure::Failed(_)) => {}
        Err(stopped) => return Err(stopped),
    }
    let mut described = ground.describe(stages, known, registers, &all).into_iter();
    let row = |reference: &Reference| {
        let place = described.next().unwrap_or_default();
        let links = reference.chain.as_ref().map(|chain| {
            // The root's pointer comes first.
            let mut links: Vec<_> = described.by_ref().take(chain.links.len()).collect();
            links.reverse();
            links
        });
        RefRow { place, depth: reference.depth, chain: links }
    };
    Ok(references.iter().map(row).collect())
}
