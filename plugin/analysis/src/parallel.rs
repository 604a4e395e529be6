//! Work that this process does itself, on all of its processors: rows of what workers have found.

use std::thread;

/// What `make` makes of all items, in their order, several at a time if there are at least `least` for each thread. What the
/// threads need no more when it returns has ended with them.
///
/// # Panics
/// If `make` does.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], least: usize, make: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = (items.len() / least.max(1)).clamp(1, processors);
    let mut parts = items.chunks(items.len().div_ceil(threads).max(1));
    let own = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let make = &make;
        let start = |part| thread::Builder::new().name("mp-scan rows".into()).spawn_scoped(scope, move || make(part));
        let others: Vec<_> = parts.map(|part| (part, start(part))).collect();
        let mut all = make(own);
        for (part, thread) in others {
            // Where no thread can be started, this one does it.
            let made = match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => make(part),
            };
            all.extend(made);
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_items(items in proptest::collection::vec(any::<u8>(), 0..60), least in 0usize..9) {
            let twice = |part: &[u8]| part.iter().flat_map(|item| [u32::from(*item), 1000]).collect::<Vec<_>>();
            prop_assert_eq!(in_parallel(&items, least, twice), twice(&items));
        }
    }

    #[test]
    fn a_panic_is_that_of_who_asked() {
        let run =
            || in_parallel(&[1, 2, 3, 4], 1, |part| if part.contains(&4) { panic!("four") } else { part.to_vec() });
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
