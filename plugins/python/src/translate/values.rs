//! Where values are: homes of locals and stack entries, references, reads and writes.

use copatch::ValueType;

use super::{Done, Items, Local, Place, Slot, Stop, Translator};
use crate::helpers::Number;
use crate::ir::{Constant, Item, Name, Step, Type};

impl Translator<'_> {
    /// The first of the variables where a place has its values of that type.
    pub(super) fn home(&mut self, place: Place, ty: Type) -> u32 {
        self.home_of_kind(place, kind(ty), ty.parts())
    }

    pub(super) fn home_of_kind(
        &mut self,
        place: Place,
        kind: u8,
        parts: &'static [ValueType],
    ) -> u32 {
        let vars = &mut self.vars;
        let scratch = &mut self.scratch;
        let momentary = matches!(place, Place::Scratch(_));
        let var = *self.homes.entry((place, kind)).or_insert_with(|| {
            let first = vars.len() as u32;
            vars.extend_from_slice(parts);
            if momentary {
                scratch.push(first);
            }
            first
        });
        if momentary && !self.momentary.contains(&var) {
            self.momentary.push(var);
        }
        var
    }

    /// Momentary values are not read again.
    pub(super) fn forget_now(&mut self) {
        let momentary = self.momentary.iter().map(|var| Step::Forget(*var));
        self.steps.extend(momentary);
    }

    /// Behind an instruction: its momentary values, and those it took from the stack as it was before, are not read again.
    pub(super) fn forget(&mut self, before: &[Slot]) {
        self.forget_now();
        for (depth, slot) in before.iter().enumerate() {
            if let Slot::Value { var, ty, .. } = *slot
                && self.known_home(Place::Stack(depth as u32), ty) == Some(var)
                && !self.state.stack.iter().any(|slot| slot.reads(var))
            {
                self.steps.push(Step::Forget(var));
            }
        }
    }

    /// [`Self::home`] of a local that has a value of that type.
    pub(super) fn home_of(&self, place: Place, ty: Type) -> u32 {
        self.homes.get(&(place, kind(ty))).copied().unwrap_or(0)
    }

    /// [`Self::home`] of a place, if it has one.
    pub(super) fn known_home(&self, place: Place, ty: Type) -> Option<u32> {
        self.homes.get(&(place, kind(ty))).copied()
    }

    /// A variable for a moment.
    pub(super) fn scratch(&mut self, ty: Type) -> u32 {
        self.home(Place::Scratch(0), ty)
    }

    pub(super) fn copy(&mut self, from: u32, to: u32, ty: Type) {
        let parts = ty.parts().len() as u32;
        self.steps
            .extend((0..parts).map(|part| Step::Get(from + part)));
        self.steps
            .extend((0..parts).rev().map(|part| Step::Set(to + part)));
    }

    pub(super) fn pop(&mut self) -> Result<Slot, Stop> {
        self.state.stack.pop().ok_or(Stop::Leave("an empty stack"))
    }

    /// A reference more. What is counted here are lists, which always count.
    pub(super) fn retain(&mut self, var: u32) {
        self.count(var, 1);
    }

    /// A reference less.
    pub(super) fn release_var(&mut self, var: u32) {
        self.steps.extend([
            Step::Get(var),
            Step::Const(ValueType::I64, 1),
            Step::OpImm(Name::DiffersI64, 0),
            Step::If,
        ]);
        self.count(var, -1);
        self.steps.extend([
            Step::Else,
            Step::Get(var),
            Step::Helper(Number::Release, 1, &[]),
            Step::End,
        ]);
    }

    /// An object's first word is the number of references to it.
    pub(super) fn count(&mut self, var: u32, by: i64) {
        self.steps.extend([
            Step::Get(var),
            Step::Const(ValueType::I64, by as u64),
            Step::OpImm(Name::AddI64, 0),
        ]);
    }

    /// A stack entry is not needed any more.
    pub(super) fn release(&mut self, slot: &Slot) {
        match *slot {
            Slot::Value {
                var, owned: true, ..
            } => self.release_var(var),
            Slot::ListIterator { var, items } => {
                self.release_var(var);
                if let Items::Both(..) = items {
                    self.release_var(var + 2);
                }
            }
            _ => {}
        }
    }

    /// [`Self::release`] while a condition is on the engine's stack.
    pub(super) fn release_kept(&mut self, slot: &Slot) {
        if let Slot::Value {
            var, owned: true, ..
        } = *slot
        {
            let kept = self.scratch(Type::Bool);
            self.steps.push(Step::Set(kept));
            self.release_var(var);
            self.steps.push(Step::Get(kept));
        }
    }

    pub(super) fn load(&mut self, local: u32) -> Done {
        let slot = self.local(local)?;
        // A comprehension's argument goes to the stack for good.
        if let Slot::RangeIterator { .. } | Slot::ListIterator { .. } = slot {
            self.state.locals[local as usize] = Local::Unbound;
        }
        if let Slot::ListIterator { var, .. } = slot {
            self.retain(var);
        }
        self.state.stack.push(slot);
        Ok(())
    }

    /// What a local is.
    pub(super) fn local(&self, local: u32) -> Result<Slot, Stop> {
        let ty = match self.state.locals.get(local as usize) {
            Some(Local::Object(id, what)) => return Ok(Slot::Object(*id, *what)),
            Some(Local::Value { ty, .. }) => *ty,
            _ => return Err(Stop::Leave("a local without a value")),
        };
        let var = self.home_of(Place::Local(local), ty);
        Ok(match ty {
            Type::None => Slot::Constant(Constant::None),
            Type::RangeIterator(step) => Slot::RangeIterator { var, step },
            Type::ListIterator(item) => Slot::ListIterator {
                var,
                items: Items::One(Type::List(item)),
            },
            _ => Slot::Value {
                var,
                ty,
                owned: false,
            },
        })
    }

    pub(super) fn store(&mut self, local: u32) -> Done {
        let old = self.state.locals[local as usize];
        // What is stored still lies on the stack, so that its variables are not given to others.
        // Also where the local has no value now: what was moved out of it is still read from its variable.
        for ty in [Type::Int, Type::Float, Type::Bool] {
            if let Some(var) = self.known_home(Place::Local(local), ty) {
                self.copy_readers(var)?;
            }
        }
        let slot = self.pop()?;
        let new = match slot {
            // What LOAD_FAST_AND_CLEAR found without a value.
            Slot::Null => Local::Unbound,
            Slot::Constant(Constant::None) => Local::Value {
                ty: Type::None,
                owned: false,
            },
            Slot::Object(id, what) => Local::Object(id, what),
            Slot::Value { var, ty, owned, .. } if ty.is_object() => {
                if !owned {
                    self.retain(var);
                }
                Local::Value { ty, owned: true }
            }
            Slot::Constant(_) | Slot::Value { .. } => Local::Value {
                ty: slot_type(&slot)?,
                owned: false,
            },
            _ => return Err(Stop::Leave("a local that holds an iterator")),
        };
        let kept = match old {
            Local::Value { ty, owned: true } => {
                let kept = self.home_of_kind(Place::Scratch(1), 0, &[ValueType::I64]);
                let var = self.home_of(Place::Local(local), ty);
                self.steps.extend([Step::Get(var), Step::Set(kept)]);
                Some(kept)
            }
            _ => None,
        };
        if let Local::Value { ty, .. } = new {
            let to = self.home(Place::Local(local), ty);
            match slot {
                Slot::Value { var, ty, .. } if var != to => self.copy(var, to, ty),
                Slot::Constant(constant) if ty != Type::None => {
                    self.steps
                        .extend([Step::Const(ty.parts()[0], constant.bits()), Step::Set(to)]);
                }
                _ => {}
            }
        }
        self.state.locals[local as usize] = new;
        if let Some(kept) = kept {
            self.release_var(kept);
        }
        Ok(())
    }

    /// A local loses its value, which is on top of the stack.
    pub(super) fn move_out(&mut self, local: u32) -> Done {
        if let Local::Value { owned: true, .. } = self.state.locals[local as usize] {
            return Err(Stop::Leave("a list whose name is taken for a moment"));
        }
        self.state.locals[local as usize] = Local::Unbound;
        Ok(())
    }

    /// Stack entries that are read from a variable about to change get variables of their own.
    fn copy_readers(&mut self, changing: u32) -> Done {
        for depth in 0..self.state.stack.len() {
            if let Slot::Value { var, ty, owned } = self.state.stack[depth]
                && var == changing
            {
                if ty.is_object() && !owned {
                    self.retain(var);
                }
                let to = self.home(Place::Stack(depth as u32), ty);
                self.vacate(to);
                self.copy(var, to, ty);
                self.state.stack[depth] = Slot::Value {
                    var: to,
                    ty,
                    owned: ty.is_object(),
                };
            }
        }
        Ok(())
    }

    /// Whether [`Self::settle`] has anything to do.
    pub(super) fn is_unsettled(&self) -> bool {
        self.state.stack.iter().enumerate().any(|(depth, slot)| {
            let place = Place::Stack(depth as u32);
            match *slot {
                Slot::Constant(constant) => constant != Constant::None,
                Slot::Value { var, ty, owned } => {
                    self.homes.get(&(place, kind(ty))) != Some(&var) || ty.is_object() && !owned
                }
                Slot::Range { var, .. } | Slot::RangeIterator { var, .. } => {
                    self.homes.get(&(place, RANGE)) != Some(&var)
                }
                Slot::ListIterator { var, .. } => self.homes.get(&(place, RANGE)) != Some(&var),
                Slot::Null
                | Slot::Object(..)
                | Slot::Tuple(..)
                | Slot::Slice(..)
                | Slot::Comprehension { .. } => false,
            }
        })
    }

    /// Brings every stack entry to its own variables, as all ways to a place have them.
    pub(super) fn settle(&mut self) {
        if !self.is_unsettled() {
            return;
        }
        let mut sets = Vec::new();
        for depth in 0..self.state.stack.len() {
            let place = Place::Stack(depth as u32);
            let slot = self.state.stack[depth].clone();
            match slot {
                Slot::Constant(constant) if constant != Constant::None => {
                    let ty = constant.ty();
                    let to = self.home(place, ty);
                    self.steps.push(Step::Const(ty.parts()[0], constant.bits()));
                    sets.push(to);
                    self.state.stack[depth] = Slot::Value {
                        var: to,
                        ty,
                        owned: false,
                    };
                }
                Slot::Value { var, ty, owned } => {
                    let to = self.home(place, ty);
                    if ty.is_object() && !owned {
                        self.retain(var);
                    }
                    if var != to {
                        for part in 0..ty.parts().len() as u32 {
                            self.steps.push(Step::Get(var + part));
                            sets.push(to + part);
                        }
                    }
                    self.state.stack[depth] = Slot::Value {
                        var: to,
                        ty,
                        owned: ty.is_object(),
                    };
                }
                Slot::Range { var, .. }
                | Slot::RangeIterator { var, .. }
                | Slot::ListIterator { var, .. } => {
                    let to = self.home_of_kind(place, RANGE, PARTS);
                    if var != to {
                        let parts = match slot {
                            Slot::ListIterator {
                                items: Items::Both(..),
                                ..
                            } => 4,
                            Slot::ListIterator { .. } => 2,
                            _ => 3,
                        };
                        self.steps.extend((var..var + parts).map(Step::Get));
                        sets.extend(to..to + parts);
                    }
                    match &mut self.state.stack[depth] {
                        Slot::Range { var, .. }
                        | Slot::RangeIterator { var, .. }
                        | Slot::ListIterator { var, .. } => *var = to,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        self.steps.extend(sets.into_iter().rev().map(Step::Set));
    }

    /// Entries that were exchanged may lie in each other's variables: they go to their own before one is written.
    pub(super) fn vacate(&mut self, var: u32) {
        for depth in 0..self.state.stack.len() {
            if let Slot::Value {
                var: from,
                ty,
                owned,
            } = self.state.stack[depth]
                && from == var
            {
                let to = self.home(Place::Stack(depth as u32), ty);
                // There are no more entries than variables of their own, so this comes to an end.
                self.vacate(to);
                self.copy(from, to, ty);
                self.state.stack[depth] = Slot::Value { var: to, ty, owned };
            }
        }
    }

    /// The value on the engine's stack becomes the top of the stack.
    pub(super) fn push_result(&mut self, ty: Type) {
        let place = Place::Stack(self.state.stack.len() as u32);
        let var = self.home(place, ty);
        self.vacate(var);
        self.steps.push(Step::Set(var));
        self.state.stack.push(Slot::Value {
            var,
            ty,
            owned: ty.is_object(),
        });
    }

    /// Reads a number.
    pub(super) fn get(&mut self, slot: &Slot) -> Done {
        let step = match *slot {
            Slot::Constant(constant) if constant != Constant::None => {
                Step::Const(constant.ty().parts()[0], constant.bits())
            }
            Slot::Value { var, .. } => Step::Get(var),
            _ => return Err(Stop::Leave("an object in arithmetic")),
        };
        self.steps.push(step);
        Ok(())
    }

    /// Reads a number as an integer; truth values are 0 and 1.
    pub(super) fn get_int(&mut self, slot: &Slot) -> Done {
        match slot {
            Slot::Constant(Constant::Bool(value)) => {
                self.steps
                    .push(Step::Const(ValueType::I64, u64::from(*value)));
                Ok(())
            }
            _ => {
                self.get(slot)?;
                match slot_type(slot)? {
                    Type::Int | Type::NumpyInt => {}
                    Type::Bool => self.steps.push(Step::Op(Name::Extend)),
                    _ => return Err(Stop::Leave("no integer")),
                }
                Ok(())
            }
        }
    }

    /// Reads a number as a float, rounded as CPython rounds.
    pub(super) fn get_float(&mut self, slot: &Slot) -> Done {
        match (slot, slot_type(slot)?) {
            (_, Type::Float | Type::NumpyFloat) => self.get(slot),
            (Slot::Constant(constant), _) => {
                let value = match *constant {
                    Constant::Int(value) => value as f64,
                    Constant::Bool(value) => f64::from(u8::from(value)),
                    _ => return Err(Stop::Leave("no number")),
                };
                self.steps
                    .push(Step::Const(ValueType::F64, value.to_bits()));
                Ok(())
            }
            _ => {
                self.get_int(slot)?;
                self.steps.push(Step::Op(Name::Convert));
                Ok(())
            }
        }
    }

    /// Pushes the truth of an entry as an i32 on the engine's stack.
    pub(super) fn truth(&mut self, slot: &Slot) -> Done {
        let op = match (slot, slot_type(slot)?) {
            (Slot::Constant(constant), _) => {
                let truth = match *constant {
                    Constant::None => false,
                    Constant::Bool(value) => value,
                    Constant::Int(value) => value != 0,
                    Constant::Float(value) => value != 0.0,
                };
                self.steps
                    .push(Step::Const(ValueType::I32, u64::from(truth)));
                return Ok(());
            }
            (_, Type::Bool) => return self.get(slot),
            (_, Type::Int | Type::NumpyInt) => Name::Nez,
            (_, Type::Float | Type::NumpyFloat) => Name::FNez,
            (
                Slot::Value { .. },
                Type::List(_) | Type::Tuple(_) | Type::Bytes | Type::ByteArray | Type::Array(_),
            ) => {
                self.length(slot)?;
                self.steps.push(Step::Op(Name::Nez));
                return Ok(());
            }
            _ => return Err(Stop::Leave("the truth of an object")),
        };
        self.get(slot)?;
        self.steps.push(Step::Op(op));
        Ok(())
    }

    pub(super) fn exit_if(&mut self, operands: &[&Slot], why: &'static str) {
        let exit = self.exit_with(operands, why);
        self.steps.push(Step::ExitIf(exit));
    }

    /// Returns a value; nothing of the function's is needed any more.
    pub(super) fn return_(&mut self, slot: Slot) -> Done {
        let ty = slot_type(&slot)?;
        let result = *self.result.get_or_insert(ty);
        // Lists are told apart by what is guessed of their items; whoever reads those looks again.
        let lists = matches!((result, ty), (Type::List(_), Type::List(_)));
        if lists && result == Type::List(Item::Unknown) && result != ty {
            // As where a loop adds nothing.
            self.better = Some(ty);
        }
        if result != ty && !lists {
            // A sum that begins with 0 is one if nothing is added.
            let rank = |ty: Type| match ty {
                Type::Int => 1,
                Type::Float => 2,
                Type::NumpyFloat => 3,
                _ => 0,
            };
            let best = self.better.unwrap_or(result);
            if rank(best) > 0 && rank(ty) > rank(best) {
                self.better = Some(ty);
            }
            return Err(Stop::Leave("a result of another type"));
        }
        if let Slot::Value {
            var,
            ty,
            owned: false,
        } = slot
            && ty.is_object()
        {
            self.retain(var);
        }
        let kept = match slot {
            Slot::Value { var, ty, .. } => {
                let kept = self.home(Place::Scratch(2), ty);
                self.copy(var, kept, ty);
                Some(kept)
            }
            _ => None,
        };
        for local in 0..self.state.locals.len() {
            if let Local::Value { ty, owned: true } = self.state.locals[local] {
                self.release_var(self.home_of(Place::Local(local as u32), ty));
            }
        }
        for slot in std::mem::take(&mut self.state.stack) {
            self.release(&slot);
        }
        match (kept, &slot) {
            (Some(kept), _) => self.steps.push(Step::Get(kept)),
            (None, Slot::Constant(Constant::None)) => {
                self.steps.push(Step::Const(ValueType::I64, 0));
            }
            _ => self.get(&slot)?,
        }
        self.steps.extend([
            Step::Op(Name::Leave),
            Step::Const(ValueType::I32, 0),
            Step::Return,
        ]);
        Ok(())
    }

    /// `and`, `or`: the value stays if control goes there.
    pub(super) fn jump_or_pop(&mut self, when: bool, to: u32) -> Result<crate::ir::End, Stop> {
        let slot = self.pop()?;
        if slot_type(&slot)?.is_object() {
            return Err(Stop::Leave("the truth of an object"));
        }
        self.state.stack.push(slot);
        self.settle();
        let slot = self.pop()?;
        self.truth(&slot)?;
        self.state.stack.push(slot);
        let jump = self.goto(to);
        self.pop()?;
        let fall = self.goto(self.at.next);
        Ok(if when {
            crate::ir::End::If(jump, fall)
        } else {
            crate::ir::End::If(fall, jump)
        })
    }
}

/// The kind of home of ranges and of iterators.
pub(super) const RANGE: u8 = 4;
pub(super) const PARTS: &[ValueType] = &[ValueType::I64; 4];

fn kind(ty: Type) -> u8 {
    match ty {
        Type::Int | Type::NumpyInt => 0,
        Type::Float | Type::NumpyFloat => 1,
        Type::Bool => 2,
        // Has no variables.
        Type::None => 5,
        Type::RangeIterator(_) | Type::ListIterator(_) => 6,
        _ => 0,
    }
}

/// The type of an entry that is a value.
pub(super) fn slot_type(slot: &Slot) -> Result<Type, Stop> {
    match slot {
        Slot::Constant(constant) => Ok(constant.ty()),
        Slot::Value { ty, .. } => Ok(*ty),
        _ => Err(Stop::Leave("an object where a value is wanted")),
    }
}

/// An integer constant.
pub(super) fn constant_int(slot: &Slot) -> Option<i64> {
    match slot {
        Slot::Constant(Constant::Int(value)) => Some(*value),
        Slot::Constant(Constant::Bool(value)) => Some(i64::from(*value)),
        _ => None,
    }
}
