//! The recipe that new scans are mapped with, and the kept copy of its references: one place for all who ask, since a reload changes both.

use std::sync::{PoisonError, RwLock};

use crate::classify::Recipe;

/// What is in use.
#[derive(Debug)]
pub struct InUse {
    state: RwLock<(Recipe, Option<String>)>,
}

impl InUse {
    /// At first. `kept` is the digest of the kept copy of the references, where there is one.
    #[must_use]
    pub fn new(recipe: Recipe, kept: Option<String>) -> Self {
        Self { state: RwLock::new((recipe, kept)) }
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

    /// From now on.
    pub fn set(&self, recipe: Recipe, kept: Option<String>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = (recipe, kept);
    }
}
