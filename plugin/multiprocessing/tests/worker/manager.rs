//! What managers own in the tests, and what other processes do with it.

use multiprocessing::connection::{Address, AuthKey};
use multiprocessing::{ManagedDict, ManagedLock, ManagedQueue, Manager, ManagerError, Process, Program, Registry};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// An object with all kinds of methods.
#[derive(Debug)]
pub struct Account {
    balance: i64,
    reads: AtomicU64,
}

impl Account {
    pub fn new(balance: i64) -> Account {
        assert!(balance >= 0, "an account of {balance}");
        Account { balance, reads: AtomicU64::new(0) }
    }

    fn add(&mut self, by: i64) -> i64 {
        self.balance += by;
        self.balance
    }

    fn take(&mut self, amount: i64) -> Result<i64, String> {
        if amount > self.balance {
            return Err(format!("only {} are left", self.balance));
        }
        Ok(self.add(-amount))
    }

    fn balance(&self) -> i64 {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.balance
    }

    fn break_half_way(&mut self) {
        self.balance += 1;
        panic!("broken at {}", self.balance);
    }

    fn process(&self) -> u32 {
        std::process::id()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    fn echo(&self, bytes: Vec<u64>) -> Vec<u64> {
        bytes
    }
}

multiprocessing::managed! {
    /// An account.
    pub struct AccountProxy for Account {
        fn new(balance: i64) -> Self;
        fn add(&mut self, by: i64) -> i64;
        fn take(&mut self, amount: i64) -> Result<i64, String>;
        fn balance(&self) -> i64;
        fn break_half_way(&mut self);
        fn process(&self) -> u32;
        fn sleep(&self, time: Duration);
        fn echo(&self, bytes: Vec<u64>) -> Vec<u64>;
    }
}

multiprocessing::function! {
    pub fn add_many(account: AccountProxy, times: u32) -> Result<(), ManagerError> {
        for _ in 0..times {
            account.add(1)?;
        }
        Ok(())
    }
}

multiprocessing::function! {
    /// Connects to a manager elsewhere.
    pub fn put_there(address: Address, key: Vec<u8>, values: Vec<String>) -> Result<(), ManagerError> {
        let manager = Manager::connect(&address, &AuthKey::from(key))?;
        let queue = ManagedQueue::<Vec<String>>::named(&manager, "values")?;
        queue.put(&values)?;
        Ok(())
    }
}

multiprocessing::function! {
    /// Holds whatever it is given, says so, and waits to be killed.
    pub fn hold_account(account: AccountProxy, ready: ManagedQueue<u32>) -> Result<(), ManagerError> {
        account.add(1)?;
        ready.put(&std::process::id())?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    }
}

multiprocessing::function! {
    /// Waits for an item that does not come.
    pub fn wait_for_item(items: ManagedQueue<String>, ready: ManagedQueue<u32>) -> Result<(), ManagerError> {
        ready.put(&std::process::id())?;
        items.get()?;
        Ok(())
    }
}

multiprocessing::function! {
    /// Takes the lock, and waits to be killed.
    pub fn lock_and_wait(lock: ManagedLock, ready: ManagedQueue<u32>) -> Result<(), ManagerError> {
        let _guard = lock.lock()?;
        ready.put(&std::process::id())?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    }
}

multiprocessing::function! {
    /// Counts under the lock, in steps that others would spoil.
    pub fn count_under(lock: ManagedLock, counts: ManagedDict<String, u64>, times: u32) -> Result<(), ManagerError> {
        for _ in 0..times {
            let _guard = lock.lock()?;
            let count = counts.get("count")?.unwrap_or(0);
            counts.insert("count", &(count + 1))?;
        }
        Ok(())
    }
}

multiprocessing::function! {
    /// Gives its proxy to a process of its own.
    pub fn pass_on(worker: PathBuf, account: AccountProxy, depth: u32) -> Result<(), String> {
        account.add(1).map_err(|error| error.to_string())?;
        if depth == 0 {
            return Ok(());
        }
        let program = Program::new(&worker, crate::IDENTITY);
        let argument = (worker, account, depth - 1);
        let process = Process::builder(&program).start(pass_on, &argument).map_err(|error| error.to_string())?;
        drop(argument);
        process.join().map_err(|error| error.to_string())?;
        Ok(())
    }
}

multiprocessing::function! {
    /// Has a manager of its own, tells which process that is, and waits to be killed.
    pub fn own_a_manager(worker: PathBuf, pids: ManagedQueue<u32>) -> Result<(), ManagerError> {
        let manager = Manager::start(&Program::new(worker, crate::IDENTITY))?;
        pids.put(&manager.pid().unwrap_or(0))?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    }
}

pub fn register(registry: Registry) -> Registry {
    registry
        .managed::<Account>()
        .function::<add_many>()
        .function::<put_there>()
        .function::<hold_account>()
        .function::<wait_for_item>()
        .function::<lock_and_wait>()
        .function::<count_under>()
        .function::<pass_on>()
        .function::<own_a_manager>()
}
