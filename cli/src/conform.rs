//! `copatch conform`: the kit as a command.
//!
//! With `--mutate` the kit is judged, too: it must find faults planted in the pack. Wrong code may do anything, so each
//! mutant runs in a process of its own, which `--plant` makes.
#![allow(unsafe_code)] // Runs mutants.

use std::cell::RefCell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::Args;
use copatch::Pack;
use copatch::spec::InstructionSet;
use copatch_conformance::dialects::dialect;
use copatch_conformance::mutate::mutants;
use copatch_conformance::{Coverage, Kit};

use crate::packs::Packs;
use crate::{FAILED, Failure, MISUSED, print};

/// The exit code of a process that found the fault it was given to judge: one that no error has.
const FOUND: i32 = 3;
/// What Rust gives for a panic.
const PANICKED: i32 = 101;

#[derive(Args)]
pub(crate) struct Conform {
    /// A built-in instruction set (toy, wasm), or a folder with ops.toml and ops.h, whose packs are in --packs.
    #[arg(long, value_name = "NAME|DIR")]
    isa: String,
    #[command(flatten)]
    packs: Packs,
    /// How many programs to run.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    cases: u32,
    /// Which programs: the same number gives the same ones.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Then plant faults in the pack (wrong stencils, wrong patches, wrong spills) and see whether each is found.
    #[arg(long)]
    mutate: bool,
    /// Judge the mutant of that number alone; for --mutate.
    #[arg(long, value_name = "N", hide = true)]
    plant: Option<usize>,
}

fn failed(error: impl ToString) -> Failure {
    Failure {
        code: FAILED,
        line: error.to_string(),
    }
}

impl Conform {
    pub(crate) fn run(self) -> Result<i32, Failure> {
        let pack = self.pack()?;
        let kit = |subject: &Arc<Pack>| {
            let dialect = dialect(&pack.metadata().isa);
            Kit::across(Arc::clone(&pack), Arc::clone(subject), dialect).map_err(failed)
        };
        if let Some(number) = self.plant {
            let mutants = mutants(pack.bytes(), self.seed).map_err(failed)?;
            let mutant = mutants
                .get(number)
                .ok_or_else(|| failed("no such mutant"))?;
            // SAFETY: this process is there for nothing else.
            let subject = unsafe { mutant.open() }.map_err(failed)?;
            let found = kit(&subject)?.run_seeded(self.cases, self.seed, |_| {});
            return Ok(if found.is_err() { FOUND } else { 0 });
        }
        let metadata = pack.metadata();
        let name = format!("{} for {}", metadata.isa, metadata.target());
        let coverage = RefCell::new(Coverage::new(&pack).map_err(failed)?);
        let verdict = kit(&pack)?.run_seeded(self.cases, self.seed, |program| {
            // It was compiled before.
            let _ = coverage.borrow_mut().add(program);
        });
        let (cases, seed) = (self.cases, self.seed);
        if let Err(found) = verdict {
            print(&format!("{name}: a difference (seed {seed}): {found}\n"))?;
            return Ok(FAILED);
        }
        print(&format!(
            "{name}: {cases} programs (seed {seed}), no difference\n"
        ))?;
        print(&coverage.into_inner().to_string())?;
        if self.mutate {
            self.mutate(&pack)
        } else {
            Ok(0)
        }
    }

    /// Has every mutant judged, and tells which were not found.
    fn mutate(&self, pack: &Pack) -> Result<i32, Failure> {
        print("planted faults:\n")?;
        let mut code = 0;
        for (number, mutant) in mutants(pack.bytes(), self.seed)
            .map_err(failed)?
            .iter()
            .enumerate()
        {
            let exe = std::env::current_exe().map_err(failed)?;
            // The same command line; where it said `--mutate` is of no matter, since one mutant alone is judged.
            let status = Command::new(exe)
                .args(std::env::args_os().skip(1))
                .args(["--plant", &number.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .map_err(failed)?;
            let verdict = match status.code() {
                Some(0) => {
                    code = FAILED;
                    "NOT FOUND"
                }
                Some(FOUND) => "found",
                // It ran into what should not be run, or was ended for not ending.
                None | Some(PANICKED) => "found: it crashed",
                Some(other) => {
                    return Err(failed(format!(
                        "{} was not judged: exit code {other}",
                        mutant.name
                    )));
                }
            };
            print(&format!("  {}: {verdict}\n", mutant.name))?;
        }
        Ok(code)
    }

    fn pack(&self) -> Result<Arc<Pack>, Failure> {
        let folder = self.packs.folder()?;
        let embedded = match self.isa.as_str() {
            "toy" => Some(copatch_pack_toy::packs()),
            "wasm" => Some(copatch_pack_wasm::packs()),
            _ => None,
        };
        match (folder, embedded) {
            (None, Some(packs)) => Pack::for_host(packs).map_err(failed),
            (Some(folder), Some(_)) => {
                let digest = InstructionSet::builtin_digest(&self.isa).unwrap_or_default();
                Pack::for_host_in(&folder, &self.isa, digest).map_err(failed)
            }
            (Some(folder), None) => {
                let isa = instruction_set(Path::new(&self.isa))?;
                Pack::for_host_in(&folder, &isa.name, isa.digest).map_err(failed)
            }
            (None, None) => Err(Failure {
                code: MISUSED,
                line: format!("--isa {} has no built-in packs: give --packs", self.isa),
            }),
        }
    }
}

fn instruction_set(folder: &Path) -> Result<InstructionSet, Failure> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|error| Failure::of(&path, error))
    };
    InstructionSet::parse(&read("ops.toml")?, &read("ops.h")?).map_err(failed)
}
