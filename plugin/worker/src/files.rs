//! An analysis of files as a function of the pool, and what comes before it.

use analysis::files::{Answer, FileAnalysis, INFLATE, Request, SURVEY, Setup, SurveyRequest};
use multiprocessing::codec::Descriptor;
use multiprocessing::{Context, Function};
use target::Access;
use target::cache::Cache;
use target::modules::{self, Files, Surveyed};

/// One job of an analysis in this worker.
pub struct FileScan<A: FileAnalysis> {
    analysis: A,
    scanner: A::Scanner,
    files: Files,
}

impl<A: FileAnalysis> Function for FileScan<A> {
    const NAME: &'static str = A::NAME;
    /// With the sections that have been inflated. The first descriptor is of no use but to keep the job on the machine whose files are
    /// read.
    type Setup = (Setup<A>, Vec<Descriptor>);
    type Argument = Request<A::Item>;
    type Value = Answer<A::Partial>;

    fn open((setup, descriptors): Self::Setup) -> Result<Self, String> {
        let descriptors = descriptors.into_iter().skip(1).map(Descriptor::into_inner).collect();
        let cache = setup.cache.map(|(folder, limit)| Cache::open(folder, limit));
        let files = Files::new(setup.analysis.set().clone(), descriptors, Access::Mapped, cache);
        Ok(Self { scanner: setup.analysis.scanner()?, analysis: setup.analysis, files })
    }

    fn call(&mut self, request: Self::Argument, context: &Context<'_>) -> Result<Self::Value, String> {
        let Self { analysis, scanner, files } = self;
        let stop = || context.cancelled();
        Ok(match request {
            Request::Scan(task) => Answer::Scanned(analysis.scan(scanner, &task, files, &stop)),
            Request::Describe(items) => {
                let rows = analysis.describe(scanner, &items, files, &stop);
                Answer::Described(rows, analysis.unread(scanner))
            }
            Request::Chore(part) => {
                analysis.chore(part, files, &stop);
                Answer::Done
            }
        })
    }
}

/// Finds the files of modules, and their sections.
pub struct Survey;

impl Function for Survey {
    const NAME: &'static str = SURVEY;
    /// Any descriptor: it keeps the job on the machine whose files are read.
    type Setup = Descriptor;
    type Argument = SurveyRequest;
    type Value = Vec<Surveyed>;

    fn open(_: Descriptor) -> Result<Self, String> {
        Ok(Self)
    }

    fn call(&mut self, request: SurveyRequest, _: &Context<'_>) -> Result<Self::Value, String> {
        Ok(request.modules.iter().map(|module| modules::survey(module, &request.search)).collect())
    }
}

/// Inflates a compressed section into a memory file.
pub struct Inflate;

impl Function for Inflate {
    const NAME: &'static str = INFLATE;
    /// As for [`Survey`].
    type Setup = Descriptor;
    /// A module, and the number of the section.
    type Argument = (Surveyed, usize);
    type Value = Descriptor;

    fn open(_: Descriptor) -> Result<Self, String> {
        Ok(Self)
    }

    fn call(&mut self, (surveyed, section): Self::Argument, _: &Context<'_>) -> Result<Descriptor, String> {
        modules::inflate(&surveyed, section).map(Descriptor::from).map_err(|error| error.to_string())
    }
}
