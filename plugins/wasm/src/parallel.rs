//! Bodies compiled on several threads: each takes the next span of functions, and fills a part of the unit by itself; parts
//! are joined in the order of the functions, which gives the same bytes as one thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use copatch::{FunctionBuilder, Part, Parts, Unit};

use crate::bodies::Body;
use crate::compile::{Output, Worked, Worker};
use crate::error::Error;

/// A span has at least this many bytes of code, where there are as many: about what handing it over costs.
const LEAST: usize = 1 << 10;
/// And no more than this, so that its code stays in a processor's cache until it is joined, and that threads end at about
/// the same time. (A single function may have more.)
const MOST: usize = 1 << 16;

/// The functions in spans that threads take in turn. They count by bytes, which tell better than functions how long it will take.
pub(crate) fn spans<'s, 'b>(bodies: &'s [Body<'b>], jobs: usize) -> Vec<&'s [Body<'b>]> {
    let bytes = |(_, body): &Body<'_>| body.as_bytes().len();
    let total: usize = bodies.iter().map(bytes).sum();
    let wanted = (total / (4 * jobs)).clamp(LEAST, MOST);
    let mut spans = Vec::new();
    let mut rest = bodies;
    while !rest.is_empty() {
        let (mut count, mut size) = (0, 0);
        for body in rest {
            if size >= wanted && count > 0 {
                break;
            }
            count += 1;
            size += bytes(body);
        }
        let (span, others) = rest.split_at(count);
        spans.push(span);
        rest = others;
    }
    spans
}

/// Whether one thread may come to another end, or say something else: where there was no room for code, or no memory. Anything else
/// that the engine refuses is a fault, which compiling anew would hide.
pub(crate) fn depends_on_place(error: &Error) -> bool {
    let (Error::Function { source, .. } | Error::Engine(source)) = error else {
        return false;
    };
    matches!(
        source,
        copatch::Error::Limit { .. } | copatch::Error::Memory(_)
    )
}

/// A span, compiled or refused, by its index.
type Done<'p> = (usize, Result<Part<'p>, Error>, Worked);

/// Compiles spans of bodies behind what `begin` makes, on up to `jobs` threads, this one among them. Gives `None` where
/// there is no room for something: what the engine says then may depend on the place of the code, so the caller finds it
/// again in order.
///
/// # Errors
/// The first body that is refused for another reason, in the order of the functions.
pub(crate) fn generate<'p, 'a>(
    begin: impl FnOnce() -> Result<Unit<'p>, Error>,
    worker: impl Fn() -> Worker<'a> + Sync,
    spans: &[&[Body<'_>]],
    jobs: usize,
) -> Result<Option<Output<'p>>, Error> {
    let mut unit = begin()?;
    let parts = Spare {
        parts: unit.parts(),
        empty: Mutex::default(),
    };
    let next = AtomicUsize::new(0);
    // Spans are taken in order, so whatever comes before one that is refused is compiled to its end.
    let take = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        spans.get(index).map(|span| (index, *span))
    };
    let compile = |worker: &mut Worker<'_>, (index, span): (usize, &[Body<'_>])| -> Done<'p> {
        let part = parts.fill(|builder| worker.compile(builder, span.iter().cloned().map(Ok)));
        if part.is_err() {
            next.store(spans.len(), Ordering::Relaxed);
        }
        (index, part, std::mem::take(&mut worker.worked))
    };
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 1..jobs.min(spans.len()) {
            let send = send.clone();
            let work = || {
                let (send, mut worker) = (send, worker());
                while let Some(span) = take() {
                    // The other end goes away when something was refused.
                    if send.send(compile(&mut worker, span)).is_err() {
                        break;
                    }
                }
            };
            // With fewer threads it takes longer, no more.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        drop(send);
        let mut joined = Joined::new(unit, &parts, spans.len());
        let mut worker = worker();
        while let Some(span) = take() {
            joined.add(compile(&mut worker, span))?;
            for done in receive.try_iter() {
                joined.add(done)?;
            }
        }
        for done in receive {
            joined.add(done)?;
        }
        Ok(joined.finish())
    })
    .or_else(|error| match depends_on_place(&error) {
        true => Ok(None),
        false => Err(error),
    })
}

/// Parts that were joined, for the next spans: their memory is there already.
struct Spare<'p> {
    parts: Parts<'p>,
    empty: Mutex<Vec<Part<'p>>>,
}

impl<'p> Spare<'p> {
    fn empty(&self) -> MutexGuard<'_, Vec<Part<'p>>> {
        self.empty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(
        &self,
        compile: impl FnOnce(FunctionBuilder<'_, 'p>) -> Result<(), Error>,
    ) -> Result<Part<'p>, Error> {
        let empty = self.empty().pop();
        let mut part = match empty {
            Some(part) => part,
            None => self.parts.part()?,
        };
        compile(part.builder())?;
        Ok(part)
    }
}

/// The unit with the spans joined so far, and those that wait for one before them.
struct Joined<'s, 'p> {
    unit: Unit<'p>,
    spare: &'s Spare<'p>,
    worked: Worked,
    waiting: Vec<Option<Result<Part<'p>, Error>>>,
    count: usize,
}

impl<'s, 'p> Joined<'s, 'p> {
    fn new(unit: Unit<'p>, spare: &'s Spare<'p>, spans: usize) -> Self {
        Self {
            unit,
            spare,
            worked: Worked::default(),
            waiting: (0..spans).map(|_| None).collect(),
            count: 0,
        }
    }

    /// Joins what has its turn.
    fn add(&mut self, (index, part, worked): Done<'p>) -> Result<(), Error> {
        self.worked.add(worked);
        self.waiting[index] = Some(part);
        while let Some(part) = self.waiting.get_mut(self.count).and_then(Option::take) {
            let mut part = part?;
            self.unit.join(&mut part)?;
            self.spare.empty().push(part);
            self.count += 1;
        }
        Ok(())
    }

    /// The whole, if nothing is missing.
    fn finish(self) -> Option<Output<'p>> {
        let whole = self.count == self.waiting.len();
        whole.then_some(Output {
            unit: self.unit,
            worked: self.worked,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_depends_on_the_place_of_code_is_compiled_again() {
        let limit = || copatch::Error::Limit { what: "room" };
        let misuse = || copatch::Error::Misuse {
            what: "a call",
            at: 0,
        };
        let internal = || copatch::Error::Internal {
            what: "a hole".to_owned(),
        };
        let function = |source| Error::Function {
            function: 1,
            offset: 0,
            source,
        };
        assert!(depends_on_place(&Error::Engine(limit())));
        assert!(depends_on_place(&function(limit())));
        for fault in [misuse(), internal()] {
            assert!(!depends_on_place(&function(fault)));
        }
        assert!(!depends_on_place(&Error::Engine(internal())));
    }
}
