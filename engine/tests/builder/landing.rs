//! Landing pads: where they stand, and that an indirect branch past one faults where that is checked.

use super::*;

const FUNCTION: u32 = 0;
const BY_POINTER: u32 = 1;
/// Targets of the branch table: three blocks, one of which takes a value, and the function's end.
const TARGETS: usize = 4;

/// A function that jumps through a table, and what calls functions of its type by their address.
fn program(pack: &Arc<Pack>, landing_pads: bool) -> Program {
    let mut unit = Unit::new(pack, 1 << 20).expect("memory").with_trace();
    if landing_pads {
        unit = unit.with_landing_pads();
    }
    // Parts are made as their unit is.
    let mut part = unit.parts().part().expect("memory");
    let mut builder = part.builder();
    let sig = signature(&[I64, I32], &[I64]);
    builder.begin(FUNCTION, &sig, &[I64], &Plan::default());
    builder.block(&[], &[I64]);
    builder.block(&[], &[I64]);
    builder.block(&[], &[I64]);
    builder.get(0);
    builder.get(1);
    builder.br_table(&[0, 1, 2], 3);
    for addend in [10, 100, 1000] {
        builder.end();
        builder.constant(I64, addend);
        builder.op(pack.op("i64.add").expect("an operation"));
    }
    builder.set(2);
    // A second table, all of whose targets expect the same.
    for _ in 0..2 {
        builder.block(&[], &[]);
    }
    builder.get(1);
    builder.br_table(&[0], 1);
    for value in [7, 9] {
        builder.end();
        builder.get(2);
        builder.constant(I64, value);
        builder.op(pack.op("i64.add").expect("an operation"));
        builder.set(2);
    }
    builder.get(2);
    builder.end();
    builder.finish().expect("the function");
    builder.entry_pointer_wrapper(BY_POINTER, &sig);
    builder.finish().expect("the wrapper");
    drop(builder);
    unit.join(&mut part).expect("there is room");
    unit.finish().expect("the program")
}

fn results(program: &Program) -> Vec<u64> {
    let address = program.entry(FUNCTION).expect("the function") as u64;
    let result = |index| enter(program, BY_POINTER, &[1, index, address]).expect("no trap")[0];
    (0..5).map(result).collect()
}

#[test]
fn they_change_no_result_and_stand_where_indirect_branches_arrive() {
    let pack = pack();
    let pad = pack.op("core.landing").expect("an operation").index();
    let pads = |program: &Program| -> Vec<usize> {
        let emitted = program.listing().expect("a listing").iter();
        let pads = emitted.filter(|it| it.op == pad as u16);
        pads.map(|it| program.range().start + it.offset as usize)
            .collect()
    };
    let without = program(&pack, false);
    assert!(pads(&without).is_empty());
    assert_eq!(results(&without), [1127, 1110, 1010, 1, 1]);
    let with = program(&pack, true);
    assert_eq!(results(&with), results(&without));
    let found = pads(&with);
    for function in [FUNCTION, BY_POINTER] {
        let entry = with.entry(function).expect("the function");
        assert!(found.contains(&entry), "function {function}");
    }
    // Two functions, and the targets of both tables.
    assert_eq!(found.len(), 2 + TARGETS + 2);
}

#[test]
fn a_branch_past_one_faults_where_that_is_checked() {
    let pack = pack();
    for landing_pads in [false, true] {
        let program = program(&pack, landing_pads);
        let listing = program.listing().expect("a listing");
        let entry = program.entry(FUNCTION).expect("the function");
        let first = entry - program.range().start;
        let second = listing
            .iter()
            .find(|it| it.offset as usize > first)
            .expect("code");
        let past = match landing_pads {
            true => program.range().start + second.offset as usize,
            false => entry,
        };
        // SAFETY: the child runs what follows only, none of which takes a lock that another thread may hold: the C library
        // sees to its own.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no process could be made");
        if child == 0 {
            let right = enter(&program, BY_POINTER, &[1, 0, past as u64])
                .is_ok_and(|results| results[0] == 1127);
            // SAFETY: ends this process.
            unsafe { libc::_exit(if right { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child, which is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if landing_pads && is_checked() {
            assert!(libc::WIFSIGNALED(status), "status {status:#x}");
            assert_eq!(libc::WTERMSIG(status), libc::SIGILL);
        } else {
            assert_eq!(status, 0, "pads: {landing_pads}");
        }
    }
}

#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
fn is_checked() -> bool {
    std::arch::is_aarch64_feature_detected!("bti")
}

#[cfg(not(all(target_arch = "aarch64", target_os = "linux")))]
fn is_checked() -> bool {
    false
}
