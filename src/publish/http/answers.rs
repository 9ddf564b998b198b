//! Answers that cost something, kept for the next who asks: ten browsers on one map have it turned into bytes once.
//!
//! An answer is known by where it is of and by its tag, which no other content has. Whoever asks first has it made, the others wait for
//! it. What could not be made is not kept. What is kept is bounded; the answer asked for first goes first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::shown::Place;

const MOST: usize = 64;
const MOST_BYTES: usize = 64 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Answers(Mutex<VecDeque<Kept>>);

struct Kept {
    place: Place,
    tag: String,
    answer: Arc<OnceCell<Bytes>>,
}

impl Answers {
    /// The answer with this tag, made if it is not there.
    pub(super) async fn get<E>(
        &self,
        place: &Place,
        tag: &str,
        make: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Bytes, E> {
        let answer = self.answer(place, tag);
        let bytes = answer.get_or_try_init(|| make).await.cloned();
        self.trim();
        bytes
    }

    fn answer(&self, place: &Place, tag: &str) -> Arc<OnceCell<Bytes>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.iter().find(|kept| kept.tag == tag && kept.place == *place) {
            return Arc::clone(&known.answer);
        }
        let answer = Arc::new(OnceCell::new());
        kept.push_back(Kept { place: place.clone(), tag: tag.to_owned(), answer: Arc::clone(&answer) });
        answer
    }

    fn trim(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |kept: &Kept| kept.answer.get().map_or(0, Bytes::len);
        let mut sum: usize = kept.iter().map(bytes).sum();
        while kept.len() > MOST || sum > MOST_BYTES {
            let Some(gone) = kept.pop_front() else { break };
            sum -= bytes(&gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn board(id: &str) -> Place {
        Place::Board(id.to_owned())
    }

    #[tokio::test]
    async fn many_who_ask_at_once_have_it_made_once() {
        let (answers, made) = (Answers::default(), AtomicUsize::new(0));
        let place = board("a");
        let ask = || {
            answers.get(&place, "1-phase", async {
                made.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Bytes::from_static(b"phase"))
            })
        };
        let all = futures_util::future::join_all((0..10).map(|_| ask())).await;
        assert!(all.iter().all(|answer| answer.as_ref().unwrap() == "phase"));
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn another_tag_or_place_is_another_answer_and_a_failure_is_not_kept() {
        let answers = Answers::default();
        let ask = async |place: &str, tag: &str, answer: Result<&'static str, &'static str>| {
            answers.get(&board(place), tag, async { answer.map(Bytes::from) }).await
        };
        assert_eq!(ask("a", "1", Err("busy")).await, Err("busy"));
        assert_eq!(ask("a", "1", Ok("one")).await.unwrap(), "one");
        assert_eq!(ask("a", "1", Ok("other")).await.unwrap(), "one", "it is kept");
        assert_eq!(ask("b", "1", Ok("two")).await.unwrap(), "two");
        assert_eq!(ask("a", "2", Ok("three")).await.unwrap(), "three");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        let large = Bytes::from(vec![0; MOST_BYTES / 4]);
        for tag in 0..200 {
            let bytes = if tag % 2 == 0 { large.clone() } else { Bytes::new() };
            let made = answers.get(&board("a"), &tag.to_string(), async { Ok::<_, Infallible>(bytes) }).await;
            assert!(made.is_ok());
        }
        let kept = answers.0.lock().unwrap();
        let sum: usize = kept.iter().filter_map(|kept| kept.answer.get()).map(Bytes::len).sum();
        assert!(sum <= MOST_BYTES && kept.len() <= MOST && kept.back().unwrap().tag == "199");
    }
}
