//! The recipe that new scans are mapped with, and the kept copy of its references: one place for all who ask, since a reload changes both.
//!
//! References that wait for the end of a scan are known here, too, so that nobody sweeps their copy away before they are taken.

use std::sync::{PoisonError, RwLock};

use crate::classify::Recipe;

/// What is in use.
#[derive(Debug)]
pub struct InUse {
    state: RwLock<(Recipe, Option<String>)>,
    /// Digest of the kept copy of references that wait.
    awaited: RwLock<Option<String>>,
}

impl InUse {
    /// At first. `kept` is the digest of the kept copy of the references, where there is one.
    #[must_use]
    pub fn new(recipe: Recipe, kept: Option<String>) -> Self {
        Self { state: RwLock::new((recipe, kept)), awaited: RwLock::default() }
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> Recipe {
        self.state.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Digest of the kept copy of the references.
    #[must_use]
    pub fn kept(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The copy with this digest is needed soon; or none is any more.
    pub fn await_copy(&self, kept: Option<String>) {
        *self.awaited.write().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Digests of all kept copies of references that are needed, though no journal may say so.
    #[must_use]
    pub fn needed(&self) -> Vec<String> {
        let awaited = self.awaited.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.kept().into_iter().chain(awaited).collect()
    }

    /// From now on.
    pub fn set(&self, recipe: Recipe, kept: Option<String>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = (recipe, kept);
    }
}
