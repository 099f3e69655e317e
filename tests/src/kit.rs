//! The kit: programs, ways to run them, and a verdict.

use std::fmt;
use std::sync::Arc;

use copatch::Pack;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::dialect::Dialect;
use crate::execute::{Compiled, Evaluated, Executor};
use crate::generate::generate;
use crate::program::{Program, Step};
use crate::shrink::shrink;
use crate::valid::check;
use crate::watch::Watch;

/// Programs a test runs unless `COPATCH_CASES` says otherwise. A full run is 10,000 a front end.
pub const CASES: u32 = 300;

/// Milliseconds to spend on making a finding smaller.
const SHRINKING: u32 = 5_000;

/// How many programs to run: `COPATCH_CASES`, or [`CASES`].
pub fn cases() -> u32 {
    let wanted = std::env::var("COPATCH_CASES").ok();
    wanted
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(CASES)
}

/// Whom a program disagrees with that cannot be judged.
const NOBODY: &str = "nobody";

/// Judges compiled code of one instruction set.
pub struct Kit {
    pack: Arc<Pack>,
    dialect: Box<dyn Dialect>,
    executors: Vec<Box<dyn Executor>>,
}

/// A program on which two executors disagree.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Their names.
    pub between: (String, String),
    /// About what.
    pub what: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} and {}: {}",
            self.between.0, self.between.1, self.what
        )
    }
}

impl Kit {
    /// Compiled code, with a plan and without one, against the evaluators of the same pack.
    ///
    /// # Errors
    /// When the evaluators cannot be made executable.
    pub fn new(pack: Arc<Pack>, dialect: impl Dialect + 'static) -> copatch::Result<Self> {
        let executors: Vec<Box<dyn Executor>> = vec![
            Box::new(Evaluated::new(Arc::clone(&pack))?),
            Box::new(Compiled {
                pack: Arc::clone(&pack),
                planned: true,
            }),
            Box::new(Compiled {
                pack: Arc::clone(&pack),
                planned: false,
            }),
        ];
        Ok(Self {
            pack,
            dialect: Box::new(dialect),
            executors,
        })
    }

    /// Code generated from `subject` against the evaluators of `judge`, a pack of the same instruction set.
    ///
    /// # Errors
    /// When the evaluators cannot be made executable.
    pub fn across(
        judge: Arc<Pack>,
        subject: Arc<Pack>,
        dialect: impl Dialect + 'static,
    ) -> copatch::Result<Self> {
        let mut kit = Self::new(judge, dialect)?;
        kit.executors.truncate(1);
        kit.executors.push(Box::new(Compiled {
            pack: Arc::clone(&subject),
            planned: true,
        }));
        kit.executors.push(Box::new(Compiled {
            pack: subject,
            planned: false,
        }));
        Ok(kit)
    }

    /// The pack whose op table programs are made of.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Adds another way to run programs, such as an interpreter that nobody here wrote.
    #[must_use]
    pub fn with(mut self, executor: impl Executor + 'static) -> Self {
        self.executors.push(Box::new(executor));
        self
    }

    /// The program that these numbers stand for.
    pub fn program(&self, numbers: &[u64]) -> Program {
        generate(self.pack.metadata(), self.dialect.as_ref(), numbers)
    }

    /// Runs a program every way.
    ///
    /// # Errors
    /// The first executor (the evaluators) and one that disagrees with it, or cannot run the program.
    pub fn agree(&self, program: &Program) -> Result<(), Disagreement> {
        check(program, self.pack.metadata()).map_err(|what| Disagreement {
            between: (
                "the program".to_owned(),
                "the rules of the builder".to_owned(),
            ),
            what,
        })?;
        let Some((judge, others)) = self.executors.split_first() else {
            return Ok(());
        };
        let disagreement = |other: &str, what| {
            Err(Disagreement {
                between: (judge.name(), other.to_owned()),
                what,
            })
        };
        // What the judge cannot run to its end, compiled code might never leave.
        let expected = match judge.run(program, self.dialect.as_ref()) {
            Ok(expected) => expected,
            Err(what) => return disagreement(NOBODY, what),
        };
        for other in others {
            let what = match other.run(program, self.dialect.as_ref()) {
                Ok(found) => expected.difference(&found),
                Err(what) => Some(what),
            };
            if let Some(what) = what {
                return disagreement(&other.name(), what);
            }
        }
        Ok(())
    }

    /// Whether vectors that depend on how they were computed are made the same at once ([`Dialect::settle`]): shrinking
    /// must not find them.
    fn is_settled(&self, program: &Program) -> bool {
        let ops = &self.pack.metadata().ops;
        let bodies = program.functions.iter().map(|function| &function.body);
        bodies
            .flat_map(|body| (0..body.len()).map(|at| &body[at..]))
            .all(|steps| {
                let [Step::Op(name, _), rest @ ..] = steps else {
                    return true;
                };
                let variable = match rest {
                    [Step::Tee(variable), ..] => *variable,
                    _ => 0,
                };
                let operation = ops.iter().find(|op| op.name == *name);
                operation.is_none_or(|op| rest.starts_with(&self.dialect.settle(op, variable)))
            })
    }

    /// Runs that many random programs, those of `COPATCH_SEED`.
    ///
    /// # Errors
    /// A program on which executors disagree, as small as shrinking makes it, printed as a test.
    pub fn run(&self, cases: u32) -> Result<(), String> {
        let seed = std::env::var("COPATCH_SEED").ok();
        let seed = seed.and_then(|seed| seed.trim().parse().ok()).unwrap_or(1);
        self.run_seeded(cases, seed, |_| {})
    }

    /// Runs that many random programs of a seed, and shows each on which all agree to `agreed`.
    ///
    /// # Errors
    /// As [`Kit::run`].
    pub fn run_seeded(
        &self,
        cases: u32,
        seed: u64,
        agreed: impl Fn(&Program),
    ) -> Result<(), String> {
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            max_shrink_time: SHRINKING,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, random);
        // What fails in a small program is easier to read, and some errors need a large one.
        let of = |length| prop::collection::vec(any::<u64>(), 0..length);
        let numbers = prop_oneof![of(40), of(150), of(600), of(2000)];
        let watch = Watch::new();
        let verdict = runner.run(&numbers, |numbers| {
            let program = self.program(&numbers);
            watch.run(&program);
            self.agree(&program)
                .map_err(|found| TestCaseError::fail(found.to_string()))?;
            agreed(&program);
            Ok(())
        });
        match verdict {
            Ok(()) => Ok(()),
            Err(TestError::Fail(_, numbers)) => {
                let program = shrink(self.program(&numbers), self.pack.metadata(), |program| {
                    if !self.is_settled(program) {
                        return false;
                    }
                    watch.run(program);
                    let found = self.agree(program).err();
                    found.is_some_and(|found| found.between.1 != NOBODY)
                });
                let reason = self.agree(&program).err();
                let reason = reason.map_or_else(String::new, |found| found.to_string());
                Err(format!("{reason}\n\n{program}"))
            }
            Err(TestError::Abort(reason)) => Err(reason.to_string()),
        }
    }
}
