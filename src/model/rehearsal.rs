//! The embedded engine asked once, out of reach of the engine's interface.
//!
//! tract panics on some graphs that it cannot make sense of, and `ort`'s table of functions is C's, through which nothing unwinds: the
//! process would end. So a model is first opened and run by tract itself, where a panic can be caught, on the batch that the probe
//! will ask about. What comes through is given to the engine.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::{
    Framework as _, InferenceModelExt as _, IntoRunnable as _, TValue, Tensor, TractResult,
};

use super::Batch;

/// Opens the model and runs it on `batch`, in the way the engine will.
///
/// # Errors
/// What tract says, or that it panicked.
pub(super) fn rehearse(bytes: &[u8], batch: &Batch, takes_sigma: bool) -> Result<(), String> {
    // Nothing that tract leaves half done is used afterwards.
    match catch_unwind(AssertUnwindSafe(|| run(bytes, batch, takes_sigma))) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("for no reason that it names");
            Err(format!("it panics: {text}"))
        }
    }
}

fn run(mut bytes: &[u8], batch: &Batch, takes_sigma: bool) -> TractResult<()> {
    let mut names = vec!["spectrum", "mask"];
    let mut inputs = vec![batch.spectrum(), batch.mask()];
    if takes_sigma {
        names.push("sigma");
        inputs.push(batch.sigma());
    }
    let model = tract_onnx::onnx().model_for_read(&mut bytes)?.into_optimized()?;
    let model = model.with_input_names(names)?.into_runnable()?;
    let shape = [batch.len(), batch.channels()];
    let tensor = |values: &&[f32]| Tensor::from_shape(&shape, values).map(TValue::from);
    let inputs = inputs.iter().map(tensor).collect::<TractResult<Vec<_>>>()?;
    let _outputs = model.run(inputs.into_iter().collect())?;
    Ok(())
}
