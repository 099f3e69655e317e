//! Calls, and ways to leave a function.

use copatch::ValueType;

use super::machine::Transition;
use super::{Frame, Generator, STEPS};
use crate::program::Step;

impl Generator<'_, '_> {
    /// Leaves the function, or stops; what follows in the construct is not reached.
    pub(super) fn leave(&mut self) {
        match self.choices.below(8) {
            0 => {
                self.begin_unless(|this| this.expression(ValueType::I32));
                let results = self.signatures[self.index].results.clone();
                self.expressions(&results);
                self.end_unless(Step::Return);
            }
            1 if self.choices.one_in(4) => {
                self.begin_unless(|this| this.expression(ValueType::I32));
                let kind = self.choices.below(self.metadata.traps.len()) as u8;
                self.end_unless(Step::Trap(kind));
            }
            2 | 3 => self.tail_call(),
            _ => self.branch_if(),
        }
    }

    /// Goes on in another function if a condition does not hold.
    fn tail_call(&mut self) {
        let (signatures, costs) = (self.signatures, self.costs);
        let fits = |callee: &usize| {
            let same = signatures[*callee].results == signatures[self.index].results;
            same && costs[*callee] + self.cost < STEPS
        };
        let found: Vec<usize> = (self.index + 1..signatures.len()).filter(fits).collect();
        let Some(callee) = self.choices.pick(&found).copied() else {
            return;
        };
        self.begin_unless(|this| this.expression(ValueType::I32));
        // State machines pass their variables on, to other places.
        let plain = self.choices.one_in(2);
        for ty in &signatures[callee].params {
            match self.variable(*ty, false) {
                Some(var) if plain => self.emit(Step::Get(var)),
                _ => self.expression(*ty),
            }
        }
        // At most once, in whatever loop it stands.
        self.cost += costs[callee];
        let last = if self.choices.one_in(3) {
            Step::TailCallPointer(callee as u32)
        } else {
            Step::TailCall(callee as u32)
        };
        self.end_unless(last);
    }

    /// Goes on in the state machine's next function, if a condition does not hold.
    pub(super) fn go_on(&mut self, transition: &Transition) {
        let callee = self.index + 1;
        self.begin_unless(|this| this.constant(ValueType::I32));
        for var in &transition.variables {
            self.emit(Step::Get(*var));
        }
        self.cost += self.costs[callee];
        self.end_unless(if transition.through_pointer {
            Step::TailCallPointer(callee as u32)
        } else {
            Step::TailCall(callee as u32)
        });
    }

    /// Opens a block that is left at once if a condition holds.
    fn begin_unless(&mut self, condition: impl FnOnce(&mut Self)) {
        self.emit(Step::Block(Vec::new(), Vec::new()));
        self.frames.push(Frame {
            label: Vec::new(),
            turns: Vec::new(),
            is_loop: false,
        });
        condition(self);
        self.emit(Step::BrIf(0));
    }

    fn end_unless(&mut self, last: Step) {
        self.emit(last);
        self.frames.pop();
        self.emit(Step::End);
    }

    /// A call of a function with one result of that type, or of any.
    pub(super) fn call(&mut self, result: Option<ValueType>) {
        let (signatures, costs) = (self.signatures, self.costs);
        let affordable = |callee: &usize| {
            let wanted = result.is_none_or(|ty| signatures[*callee].results == [ty]);
            wanted && costs[*callee].saturating_mul(self.weight) + self.cost < STEPS
        };
        let found: Vec<usize> = (self.index + 1..signatures.len())
            .filter(affordable)
            .collect();
        let Some(callee) = self.choices.pick(&found).copied() else {
            return match result {
                Some(ty) => self.constant(ty),
                None => self.helper(),
            };
        };
        let signature = &signatures[callee];
        self.expressions(&signature.params);
        self.cost += costs[callee].saturating_mul(self.weight);
        let through_pointer = self.choices.one_in(3);
        self.emit(if through_pointer {
            Step::CallPointer(callee as u32)
        } else {
            Step::Call(callee as u32)
        });
        if result.is_none() {
            self.consume(&signature.results);
        }
    }

    pub(super) fn helper(&mut self) {
        let helpers = self.helpers;
        let index = self.choices.below(helpers.len());
        let Some(signature) = helpers.get(index) else {
            return;
        };
        self.expressions(&signature.params);
        self.emit(Step::Helper(index as u32));
        self.consume(&signature.results);
    }
}
