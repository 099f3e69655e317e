//! The order in which a tail call fills slots: arguments are written where the caller's own parameters lie, and a builder that
//! writes one before it has read it is wrong. Here such builders are imitated by rewriting programs, and the kit must notice.

mod common;

use std::sync::Arc;

use common::{Toy, Wasm, runnable};
use copatch::{Pack, ValueType};
use copatch_conformance::{
    Dialect, Evaluated, Executor, Function, Kit, Outcome, Program, Step, cases,
};

/// What a wrong builder would make of a program.
struct Careless {
    evaluated: Evaluated,
    pack: Arc<Pack>,
    descending: bool,
}

impl Executor for Careless {
    fn name(&self) -> String {
        "careless".to_owned()
    }

    fn run(&self, program: &Program, dialect: &dyn Dialect) -> Result<Outcome, String> {
        let mut wrong = program.clone();
        for function in &mut wrong.functions {
            self.rewrite(function, program);
        }
        self.evaluated.run(&wrong, dialect)
    }
}

impl Careless {
    /// Arguments of tail calls that are read from parameters and travel in slots are written there one after another, without
    /// looking at what is still to be read.
    fn rewrite(&self, function: &mut Function, program: &Program) {
        let mut body = Vec::new();
        for step in std::mem::take(&mut function.body) {
            if let Step::TailCall(callee) = step {
                let params = &program.functions[callee as usize].signature.params;
                let start = body.len().saturating_sub(params.len());
                let reads = |step: &Step| match step {
                    Step::Get(var) => Some(*var),
                    _ => None,
                };
                let read: Option<Vec<u32>> = body[start..].iter().map(reads).collect();
                if let Some(read) = read.filter(|read| read.len() == params.len()) {
                    body.truncate(start);
                    self.hand_over(function, &mut body, params, &read);
                }
            }
            body.push(step);
        }
        function.body = body;
    }

    fn hand_over(
        &self,
        function: &mut Function,
        body: &mut Vec<Step>,
        params: &[ValueType],
        read: &[u32],
    ) {
        let machine = &self.pack.metadata().machine;
        let mut taken = vec![0; machine.classes.len()];
        let mut in_register = |ty: ValueType| {
            // Vectors lie in slots where there are no registers for them.
            let Some(class) = machine.class_of(ty) else {
                return false;
            };
            taken[class] += 1;
            taken[class] <= machine.classes[class].1.arguments
        };
        let in_slot: Vec<bool> = params.iter().map(|ty| !in_register(*ty)).collect();
        // Registers are filled first, so theirs are read in time.
        let mut places = read.to_vec();
        for (index, ty) in params.iter().enumerate() {
            let is_own = function.variable(index as u32) == Some(*ty);
            if !in_slot[index] || !is_own {
                let fresh = function.signature.params.len() + function.locals.len();
                function.locals.push(*ty);
                body.extend([Step::Get(read[index]), Step::Set(fresh as u32)]);
                places[index] = fresh as u32;
            }
        }
        let mut slots: Vec<usize> = (0..params.len())
            .filter(|index| places[*index] == read[*index])
            .collect();
        slots.retain(|index| in_slot[*index]);
        if self.descending {
            slots.reverse();
        }
        for index in slots {
            body.extend([Step::Get(read[index]), Step::Set(index as u32)]);
            places[index] = index as u32;
        }
        body.extend(places.into_iter().map(Step::Get));
    }
}

fn is_noticed(pack: Arc<Pack>, dialect: impl Dialect + 'static, descending: bool) {
    let kit = Kit::new(Arc::clone(&pack), dialect).unwrap();
    let evaluated = Evaluated::new(Arc::clone(&pack)).unwrap();
    let report = kit.with(Careless {
        evaluated,
        pack,
        descending,
    });
    let report = report.run(cases()).expect_err("nobody noticed the order");
    assert!(report.starts_with("evaluated and careless: "), "{report}");
    assert!(report.contains("TailCall"), "{report}");
}

#[test]
fn a_wrong_order_is_noticed() {
    if !copatch::jit_available() {
        return;
    }
    for descending in [false, true] {
        let (_, toy) = runnable(copatch_pack_toy::packs()).remove(0);
        is_noticed(toy, Toy, descending);
        let (_, wasm) = runnable(copatch_pack_wasm::packs()).remove(0);
        is_noticed(wasm, Wasm, descending);
    }
}
