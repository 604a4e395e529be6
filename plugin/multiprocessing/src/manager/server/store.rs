//! The objects of a manager, and who holds them.

use crate::manager::error::Failure;
use crate::manager::managed::{ManagedTypes, Object};
use crate::manager::protocol::Wanted;
use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that a manager owns.
pub(super) struct Store {
    types: ManagedTypes,
    contents: Mutex<Contents>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Contents {
    last: u64,
    objects: HashMap<u64, Entry>,
    names: HashMap<String, u64>,
    /// What each client holds, and how often.
    sessions: HashMap<u64, HashMap<u64, u64>>,
}

struct Entry {
    object: Arc<dyn Object>,
    kind: String,
    schema: String,
    parameters: String,
    /// By clients and by names.
    holders: u64,
}

/// Something whose last holder is gone: it is dropped where no lock is held.
type Gone = Option<Arc<dyn Object>>;

impl Store {
    pub(super) fn new(types: ManagedTypes) -> Store {
        Store { types, contents: Mutex::default(), stopping: AtomicBool::new(false) }
    }

    /// A new client. Its number is no other's, also of no other manager that may have had the same address.
    pub(super) fn enter(&self) -> Result<u64, Failure> {
        let mut contents = self.contents();
        loop {
            let session = getrandom::u64().map_err(|_| Failure::Ended)?;
            if let Vacant(place) = contents.sessions.entry(session) {
                place.insert(HashMap::new());
                return Ok(session);
            }
        }
    }

    /// A client is gone.
    pub(super) fn leave(&self, session: u64) {
        let mut contents = self.contents();
        let held = contents.sessions.remove(&session).unwrap_or_default();
        let mut left = Vec::new();
        for (object, times) in held {
            left.extend(contents.objects.get(&object).map(|entry| Arc::clone(&entry.object)));
            left.extend(contents.release(object, times));
        }
        drop(contents);
        for object in left {
            object.left(session);
        }
    }

    /// Makes an object, or finds the one of this name.
    pub(super) fn create(
        &self,
        session: u64,
        wanted: Wanted<'_>,
        name: Option<&str>,
        arguments: &[u8],
    ) -> Result<u64, Failure> {
        if let Some(name) = name {
            match self.find(session, wanted, name) {
                Err(Failure::NoName(_)) => {}
                found => return found,
            }
        }
        // It may take its time, so nobody waits for it. If two make one of the same name, one of them is dropped.
        let object = self.types.create(wanted.kind, wanted.schema, arguments)?;
        let mut contents = self.contents();
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Failure::Ended);
        }
        if let Some(name) = name.filter(|name| contents.names.contains_key(*name)) {
            return contents.find(session, wanted, name);
        }
        contents.last += 1;
        let number = contents.last;
        let entry = Entry {
            object,
            kind: wanted.kind.to_owned(),
            schema: wanted.schema.to_owned(),
            parameters: wanted.parameters.to_owned(),
            holders: 0,
        };
        contents.objects.insert(number, entry);
        if let Some(name) = name {
            contents.names.insert(name.to_owned(), number);
            contents.entry(number)?.holders += 1;
        }
        contents.hold(session, number)
    }

    pub(super) fn find(&self, session: u64, wanted: Wanted<'_>, name: &str) -> Result<u64, Failure> {
        self.contents().find(session, wanted, name)
    }

    pub(super) fn hold(&self, session: u64, object: u64) -> Result<u64, Failure> {
        self.contents().hold(session, object)
    }

    pub(super) fn release(&self, session: u64, object: u64) -> Result<(), Failure> {
        let gone = {
            let mut contents = self.contents();
            let held = contents.sessions.get_mut(&session).ok_or(Failure::Protocol)?;
            let times = held.get_mut(&object).ok_or(Failure::Protocol)?;
            *times -= 1;
            if *times == 0 {
                held.remove(&object);
            }
            contents.release(object, 1)
        };
        drop(gone);
        Ok(())
    }

    pub(super) fn forget(&self, name: &str) -> bool {
        let mut contents = self.contents();
        let Some(object) = contents.names.remove(name) else { return false };
        let gone = contents.release(object, 1);
        drop(contents);
        drop(gone);
        true
    }

    pub(super) fn count(&self) -> u64 {
        self.contents().objects.len() as u64
    }

    /// An object that this client holds.
    pub(super) fn held(&self, session: u64, object: u64) -> Result<Arc<dyn Object>, Failure> {
        let mut contents = self.contents();
        // A client of another manager at the same address, of before, is told that that one has ended.
        let held = contents.sessions.get(&session).ok_or(Failure::Ended)?;
        if !held.contains_key(&object) {
            return Err(Failure::NoObject);
        }
        Ok(Arc::clone(&contents.entry(object)?.object))
    }

    /// Whether a client is still there.
    pub(super) fn is_there(&self, session: u64) -> bool {
        self.contents().sessions.contains_key(&session)
    }

    /// Lets all return who wait in a method.
    pub(super) fn stop(&self) {
        let contents = self.contents();
        self.stopping.store(true, Ordering::Relaxed);
        let objects: Vec<_> = contents.objects.values().map(|entry| Arc::clone(&entry.object)).collect();
        drop(contents);
        for object in objects {
            object.stop();
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&self) {
        let contents = std::mem::take(&mut *self.contents());
        drop(contents);
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn entry(&mut self, object: u64) -> Result<&mut Entry, Failure> {
        self.objects.get_mut(&object).ok_or(Failure::NoObject)
    }

    fn find(&mut self, session: u64, wanted: Wanted<'_>, name: &str) -> Result<u64, Failure> {
        let short = || crate::bounded(name.to_owned(), 256);
        let object = *self.names.get(name).ok_or_else(|| Failure::NoName(short()))?;
        let entry = self.entry(object)?;
        let found = Wanted { kind: &entry.kind, schema: &entry.schema, parameters: &entry.parameters };
        if found != wanted {
            return Err(Failure::OtherType(short()));
        }
        self.hold(session, object)
    }

    fn hold(&mut self, session: u64, object: u64) -> Result<u64, Failure> {
        let held = self.sessions.get_mut(&session).ok_or(Failure::Protocol)?;
        let entry = self.objects.get_mut(&object).ok_or(Failure::NoObject)?;
        entry.holders += 1;
        *held.entry(object).or_default() += 1;
        Ok(object)
    }

    fn release(&mut self, object: u64, times: u64) -> Gone {
        let entry = self.objects.get_mut(&object)?;
        entry.holders = entry.holders.saturating_sub(times);
        if entry.holders > 0 {
            return None;
        }
        self.objects.remove(&object).map(|entry| entry.object)
    }
}
