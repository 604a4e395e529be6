//! Looking up symbols as a function of the pool.

use analysis::SymbolOffset;
use analysis::symbols::{self, Request};
use multiprocessing::codec::Descriptor;
use multiprocessing::{Context, Function};

/// It keeps nothing from one module to the next.
pub struct Symbols;

impl Function for Symbols {
    const NAME: &'static str = symbols::FUNCTION;
    /// Any descriptor: it keeps the job on the machine whose files are read.
    type Setup = Descriptor;
    type Argument = Request;
    type Value = Vec<Option<SymbolOffset>>;

    fn open(_: Descriptor) -> Result<Self, String> {
        Ok(Self)
    }

    fn call(&mut self, request: Request, _: &Context<'_>) -> Result<Self::Value, String> {
        let file = target::modules::open(&request.module.path, request.pid).map_err(|error| error.to_string())?;
        let data = target::modules::map(&file).map_err(|error| error.to_string())?;
        Ok(symbols::look_up(&*data, &request.module))
    }
}
