//! State machines: functions that go on in each other, so that tail calls bring many values from slots to slots.

use copatch::{Signature, ValueType};

use super::values::pick_types;
use crate::choices::Choices;

/// Functions that go on in each other with much the same parameters, more of them than registers carry. The others travel in
/// slots, which are written while the caller's own parameters are still read from them.
pub(super) fn state_machine(
    types: &[ValueType],
    count: usize,
    choices: &mut Choices,
) -> Vec<Signature> {
    // Variables of one type fit many places.
    let main = choices.pick(types).copied();
    let mut params: Vec<ValueType> = (0..8 + choices.below(10))
        .filter_map(|index| match index > 0 && choices.one_in(4) {
            true => choices.pick(types).copied(),
            false => main,
        })
        .collect();
    let results = 1 + choices.below(2);
    let results = pick_types(types, results, choices);
    // No function has a parameter of a type that the one before has none of; some have more than that one has variables.
    let state = |_| {
        match choices.below(4) {
            3 => params.extend(main.iter().cycle().take(choices.below(12))),
            fewer => params.truncate(params.len().saturating_sub(fewer.min(1))),
        }
        Signature {
            params: params.clone(),
            results: results.clone(),
        }
    };
    (0..count).map(state).collect()
}

/// How a function of a state machine goes on in the next one: with its own parameters, in other places.
pub(super) struct Transition {
    /// For each parameter of the next function a parameter of this one.
    pub variables: Vec<u32>,
    pub through_pointer: bool,
    /// Before anything else, so that parameters are where they came in.
    pub at_once: bool,
}

impl Transition {
    /// From the first of two functions to the second.
    pub fn new(pair: &[Signature], choices: &mut Choices) -> Self {
        let (from, to) = (&pair[0].params, &pair[1].params);
        let pick = |ty: &ValueType| {
            let same: Vec<u32> = (0..from.len() as u32)
                .filter(|var| from[*var as usize] == *ty)
                .collect();
            choices.pick(&same).copied()
        };
        Self {
            variables: to.iter().filter_map(pick).collect(),
            through_pointer: choices.one_in(3),
            at_once: choices.one_in(2),
        }
    }
}
