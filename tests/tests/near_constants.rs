//! Machines whose instructions reach constants from nearby only: the pack of this one, told that its own do.
#![cfg(target_arch = "x86_64")] // Others make a float's negative without a constant.
#![allow(unsafe_code)] // Calls generated code.

mod common;

use std::sync::Arc;

use copatch::{
    Context, Error, FunctionBuilder, Pack, Plan, Signature, Stack, Unit, ValueType, call,
};
use copatch_conformance::edit;
use copatch_spec::patch::Source;

/// How far instructions reach.
const REACH: i64 = 1 << 12;
/// Functions that use a constant, and as many additions between.
const FUNCTIONS: u32 = 4;
const FILLING: u64 = 1 << 11;

/// The toy pack whose holes for `source` reach no further than [`REACH`].
fn short_sighted(source: Source) -> Arc<Pack> {
    let [(name, bytes), ..] = copatch_pack_toy::packs() else {
        panic!("no toy pack");
    };
    let bytes = edit::edited(bytes, |writer, metadata| {
        let mut short = vec![None; metadata.kinds.len()];
        let stencils = writer
            .forms
            .iter_mut()
            .flat_map(|form| &mut form.alternatives);
        let stencils = stencils.flat_map(|alternative| alternative.stencils.iter_mut().flatten());
        for hole in stencils.flat_map(|stencil| &mut stencil.holes) {
            if hole.source != source.encode() {
                continue;
            }
            let number = usize::from(hole.kind);
            hole.kind = *short[number].get_or_insert_with(|| {
                let mut kind = metadata.kinds[number].clone();
                (kind.lo, kind.hi) = (-REACH, REACH - 1);
                metadata.kinds.push(kind);
                metadata.kinds.len() as u8 - 1
            });
        }
        assert!(
            short.iter().any(Option::is_some),
            "no stencil has such a hole"
        );
    })
    .unwrap();
    common::open(name, bytes).unwrap()
}

fn signature() -> Signature {
    Signature {
        params: vec![ValueType::F64],
        results: vec![ValueType::F64],
    }
}

/// Negates, and calls the one before; more code than instructions reach stands between.
fn function(builder: &mut FunctionBuilder<'_, '_>, pack: &Pack, index: u32) -> copatch::Result<()> {
    let op = |name| pack.op(name).unwrap();
    builder.begin(index, &signature(), &[ValueType::I64], &Plan::default());
    for at in 0..FILLING {
        builder.get(1);
        builder.constant(ValueType::I64, at);
        builder.op(op("i64.add"));
        builder.set(1);
    }
    builder.get(0);
    builder.op(op("f64.neg"));
    if let Some(before) = index.checked_sub(1) {
        builder.call(before, &signature());
    }
    builder.end();
    builder.finish()
}

/// The last function's result for 1.5, with functions in the unit itself and in parts, and the code.
fn run(pack: &Arc<Pack>, in_parts: bool) -> (f64, Vec<u8>) {
    let mut unit = Unit::new(pack, 1 << 20).unwrap();
    for index in 0..FUNCTIONS {
        if in_parts {
            let mut part = unit.parts().part().unwrap();
            function(&mut part.builder(), pack, index).unwrap();
            unit.join(&mut part).unwrap();
        } else {
            function(&mut FunctionBuilder::new(&mut unit), pack, index).unwrap();
        }
    }
    let mut builder = FunctionBuilder::new(&mut unit);
    builder.entry_wrapper(FUNCTIONS, FUNCTIONS - 1, &signature());
    builder.finish().unwrap();
    drop(builder);
    let program = unit.finish().unwrap();
    assert!(program.code().len() as i64 > i64::from(FUNCTIONS) * 2 * REACH);
    let stack = Stack::new(1 << 16).unwrap();
    let mut context = Context::new(stack.limit(), std::ptr::null());
    let frame = stack.base();
    let entry = program.entry(FUNCTIONS).unwrap();
    // SAFETY: the entry is that of an entry wrapper with one f64; context and stack outlive the call, and no helper is called.
    let result = unsafe {
        frame.write(1.5f64.to_bits());
        call(
            &program,
            entry,
            &raw mut context,
            frame,
            std::ptr::null_mut(),
        )
        .unwrap();
        f64::from_bits(frame.read())
    };
    (result, program.code().to_vec())
}

#[test]
fn constants_are_near_where_instructions_do_not_reach_far() {
    if !copatch::jit_available() {
        return;
    }
    let pack = short_sighted(Source::Pool);
    let (result, code) = run(&pack, false);
    assert_eq!(result, 1.5);
    let (in_parts, same) = run(&pack, true);
    assert_eq!(in_parts, 1.5);
    assert!(code == same, "parts make another program");
    // As it is, the pack has one pool for all.
    let (result, far) = run(&common::toy_pack(), false);
    assert_eq!(result, 1.5);
    assert!(far.len() < code.len());
}

/// Calls that do not reach have veneers; there is nothing for a veneer that does not reach.
#[test]
fn a_veneer_that_does_not_reach_is_a_limit() {
    let pack = short_sighted(Source::Target(0));
    let mut unit = Unit::new(&pack, 1 << 20).unwrap();
    let mut builder = FunctionBuilder::new(&mut unit);
    function(&mut builder, &pack, 0).unwrap();
    function(&mut builder, &pack, 1).unwrap();
    drop(builder);
    let limit = unit.finish().map(|_| ());
    assert!(matches!(limit, Err(Error::Limit { .. })), "{limit:?}");
}
