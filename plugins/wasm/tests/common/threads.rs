//! One module compiled on different numbers of threads.

use std::num::NonZeroUsize;

use copatch::plugin::Explanation;
use copatch_wasm::{Config, Engine, Module, Timings};

/// An engine for each of three numbers of threads. They are a test's own: function types are numbered in the order in which
/// an engine meets them, and their numbers are in the code, so each must be given the same modules.
pub fn engines() -> [Engine; 3] {
    thread_local! {
        static ENGINES: [Engine; 3] = [1, 2, 5].map(|jobs| {
            let mut config = Config::new();
            config.parallel_compilation(NonZeroUsize::new(jobs).unwrap());
            Engine::new(&config).expect("an engine for this machine")
        });
    }
    ENGINES.with(<[Engine; 3]>::clone)
}

/// Compiles with trace on each, and compares all that can be seen of the code; and with what is generated without, which takes shorter
/// ways. Gives what one thread says of the module.
pub fn assert_same(name: &str, bytes: &[u8]) -> Timings {
    let [one, two, five] =
        engines().map(|engine| Module::with_trace(&engine, bytes).expect("it compiles"));
    let plain = Module::new(one.engine(), bytes).expect("it compiles");
    assert!(
        plain.program().code() == one.program().code(),
        "{name}: the code differs if it is traced"
    );
    for (other, jobs) in [(&two, 2), (&five, 5)] {
        let what = format!("{name}, {jobs} threads");
        let (a, b) = (one.program(), other.program());
        assert!(a.code() == b.code(), "{what}: code differs");
        assert!(
            a.range()
                .zip(b.range())
                .all(|(a_pc, b_pc)| a.site(a_pc) == b.site(b_pc)),
            "{what}: trap sites differ"
        );
        let lines = |module: &Module| {
            let name = |index: u32| index.to_string();
            let explained = Explanation::new(module.program(), module.engine().pack(), None, &name);
            explained.expect("it was traced")
        };
        assert!(lines(&one) == lines(other), "{what}: listings differ");
        let offset = |module: &Module, index| {
            let program = module.program();
            Some(program.entry(index)? - program.range().start)
        };
        let functions = one.timings().functions as u32 + 20;
        for index in 0..functions {
            assert_eq!(
                offset(&one, index),
                offset(other, index),
                "{what}: function {index}"
            );
        }
        let (a, b) = (one.timings(), other.timings());
        assert_eq!(
            (a.functions, a.operations, a.bytes_out),
            (b.functions, b.operations, b.bytes_out),
            "{what}"
        );
    }
    one.timings()
}
