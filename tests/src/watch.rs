//! Compiled code that does not end cannot be stopped from outside; it can be told what it was.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::program::Program;

/// Longer than any generated program runs, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the process with a report if one program takes too long.
pub(crate) struct Watch {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    program: Option<Program>,
    /// How many programs there were.
    count: u64,
    done: bool,
}

impl Watch {
    /// Begins to watch.
    pub fn new() -> Self {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let watched = Arc::clone(&shared);
        std::thread::spawn(move || watch(&watched));
        Self { shared }
    }

    /// This program is run from now on.
    pub fn run(&self, program: &Program) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.program = Some(program.clone());
        state.count += 1;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .done = true;
        self.shared.1.notify_all();
    }
}

fn watch((state, done): &(Mutex<State>, Condvar)) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let before = state.count;
        let waited = done
            .wait_timeout(state, PATIENCE)
            .unwrap_or_else(PoisonError::into_inner);
        state = waited.0;
        if state.done {
            return;
        }
        if waited.1.timed_out()
            && state.count == before
            && let Some(program) = &state.program
        {
            eprintln!("no end after {} seconds:\n\n{program}", PATIENCE.as_secs());
            std::process::abort();
        }
    }
}
