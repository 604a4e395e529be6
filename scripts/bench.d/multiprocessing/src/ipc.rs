//! ipc-channel: typed channels between this process and a child that it starts.

use crate::measure::{LARGE, Place, SEGMENT, SMALL, filled, gib, micros, millis, pin, repeat, thousands, timed};
use anyhow::{Result, bail};
use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory, channel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::process::{Child, Command};
use std::time::Duration;

/// What is sent in the rows of 64 B: as much as these take.
type Small = [u64; SMALL / 8];

/// The two ends that a child gives its parent.
type Ends<T, U> = (IpcSender<T>, IpcReceiver<U>);

#[derive(Serialize, Deserialize)]
enum Order {
    /// The child has the use of this memory.
    Use(IpcSharedMemory),
    End,
}

pub fn run(row: &str, place: &Place, repeats: usize) -> Result<Option<Vec<f64>>> {
    place.on_parents()?;
    Ok(Some(match row {
        "round_trip_same_core" | "round_trip_cross_core" => {
            let (child, (to, from)) = start::<Ends<Small, Small>>("round_trip", place)?;
            let count = place.count(20_000);
            let values = repeat(repeats, || {
                let time = timed(|| {
                    for number in 0..count as u64 {
                        to.send([number; SMALL / 8])?;
                        from.recv()?;
                    }
                    Ok(())
                })?;
                Ok(micros(time, count))
            })?;
            drop(to);
            finish(child)?;
            values
        }
        "queue_64b" | "queue_64b_same_core" => {
            let count = place.count(200_000);
            queue::<Small>("queue_64b", place, repeats, count, |time| thousands(time, count))?
        }
        "queue_1mib" => {
            let count = place.count(1000);
            queue::<ByteBuf>("queue_1mib", place, repeats, count, |time| gib(time, count * LARGE))?
        }
        "handover_64mib" | "refill_64mib" | "fill_64mib" => {
            let (child, (to, from)) = start::<Ends<Order, u8>>("handover", place)?;
            let source = filled(SEGMENT);
            let memory = IpcSharedMemory::from_bytes(&source);
            let values = repeat(repeats, || {
                let time = timed(|| {
                    // What was sent once cannot be written to any more, so there is no segment to use once more.
                    let memory =
                        if row == "handover_64mib" { memory.clone() } else { IpcSharedMemory::from_bytes(&source) };
                    to.send(Order::Use(memory))?;
                    Ok(from.recv()?)
                })?;
                Ok(millis(time))
            })?;
            to.send(Order::End)?;
            finish(child)?;
            values
        }
        _ => return Ok(None),
    }))
}

/// Has a child send so many messages, again and again.
fn queue<T: DeserializeOwned + Serialize>(
    row: &str,
    place: &Place,
    repeats: usize,
    count: usize,
    value: impl Fn(Duration) -> f64,
) -> Result<Vec<f64>> {
    let (child, (to, from)) = start::<Ends<usize, T>>(row, place)?;
    let values = repeat(repeats, || {
        let time = timed(|| {
            to.send(count)?;
            for _ in 0..count {
                from.recv()?;
            }
            Ok(())
        })?;
        Ok(value(time))
    })?;
    drop(to);
    finish(child)?;
    Ok(values)
}

fn start<T: DeserializeOwned + Serialize>(row: &str, place: &Place) -> Result<(Child, T)> {
    let (server, name) = IpcOneShotServer::<T>::new()?;
    let arguments = ["ipc-channel-child", row, &name, &place.other.to_string()];
    let child = Command::new(std::env::current_exe()?).args(arguments).spawn()?;
    Ok((child, server.accept()?.1))
}

fn finish(mut child: Child) -> Result<()> {
    child.wait()?;
    Ok(())
}

/// Gives the parent its ends of two channels; returns the child's.
fn meet<T, U>(server: &str) -> Result<(IpcReceiver<T>, IpcSender<U>)>
where
    T: Serialize + DeserializeOwned,
    U: Serialize + DeserializeOwned,
{
    let (to, from_parent) = channel::<T>()?;
    let (to_parent, from) = channel::<U>()?;
    IpcSender::connect(server.to_owned())?.send((to, from))?;
    Ok((from_parent, to_parent))
}

/// The child of a measurement: it ends when its parent drops its end, or says so.
pub fn child(row: &str, server: &str, processor: usize) -> Result<()> {
    pin(&[processor])?;
    match row {
        "round_trip" => {
            let (from, to) = meet::<Small, Small>(server)?;
            while let Ok(message) = from.recv() {
                to.send(message)?;
            }
        }
        "queue_64b" => {
            let (from, to) = meet::<usize, Small>(server)?;
            while let Ok(count) = from.recv() {
                for number in 0..count as u64 {
                    to.send([number; SMALL / 8])?;
                }
            }
        }
        "queue_1mib" => {
            let (from, to) = meet::<usize, ByteBuf>(server)?;
            let message = ByteBuf::from(filled(LARGE));
            while let Ok(count) = from.recv() {
                for _ in 0..count {
                    to.send(message.clone())?;
                }
            }
        }
        "handover" => {
            let (from, to) = meet::<Order, u8>(server)?;
            while let Order::Use(memory) = from.recv()? {
                to.send(memory[0] ^ memory[memory.len() - 1])?;
            }
        }
        _ => bail!("no row '{row}'"),
    }
    Ok(())
}
