//! One measurement: `bench-multiprocessing WHO ROW CPU CPU REPEATS SCALE` prints its values, one a repeat, as a JSON list.
//!
//! WHO is `ours`, `ipc-channel`, `procspawn` or `limit`. The first processor is the parent's, the second the other
//! process's; a row in which more than two processes take part has the use of both. SCALE divides how often something is done.
//! What WHO cannot do is `null`.

mod ipc;
mod limit;
mod measure;
mod ours;
mod ring;
mod spawned;

use anyhow::{Context, Result, bail};
use measure::Place;

fn main() -> Result<()> {
    // A worker of ours and one of procspawn's is this program, too: the first thing that it does is to find that out.
    ours::serve_if_worker();
    procspawn::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["ipc-channel-child", row, server, cpu] = arguments[..] {
        return ipc::child(row, server, cpu.parse()?);
    }
    if let ["limit-child"] = arguments[..] {
        return limit::child();
    }
    let [who, row, parent, other, repeats, scale] = arguments[..] else { bail!("see the top of main.rs") };
    let place = Place { parent: parent.parse()?, other: other.parse()?, scale: scale.parse()? };
    let repeats: usize = repeats.parse()?;
    let values = match who {
        "ours" => ours::run(row, &place, repeats),
        "ipc-channel" => ipc::run(row, &place, repeats),
        "procspawn" => spawned::run(row, &place, repeats),
        "limit" => limit::run(row, &place, repeats),
        _ => bail!("nobody is called '{who}'"),
    };
    println!("{}", serde_json::to_string(&values.with_context(|| format!("{who}, {row}"))?)?);
    Ok(())
}
