//! What an answer other than 200 means on the provider-key routes (CONTRACT 4, 5), in words of our own.
//!
//! No text of the answer is repeated, neither body nor header: a hub was seen to send the key back.

use super::super::connection::Answer;
use crate::store::StoreError;

/// Whether the answer's `detail` is exactly this.
pub fn says(answer: &Answer, detail: &str) -> bool {
    answer.detail().as_deref() == Some(detail)
}

/// The error of an answer by which nothing was stored, or the refusal of a read.
pub fn refusal(address: &str, answer: &Answer) -> StoreError {
    let reference = answer.reference();
    let status = answer.status.as_u16();
    match status {
        401 if says(answer, "User not found in session") => StoreError::Credentials(format!(
            "{address}: the session belongs to nobody: it is anonymous, or its login was lost; log in again{reference}"
        )),
        401 => StoreError::Credentials(format!(
            "{address} does not know the session: it has expired, or is another hub's; log in again{reference}"
        )),
        403 => {
            StoreError::Denied(format!("{address} lets only the role `admin` see or change provider keys{reference}"))
        }
        404 | 405 => StoreError::Unsupported {
            message: format!(
                "{address} answers {status} for provider keys: the route is not there (or the address is not a hub){reference}"
            ),
            hint: "check the address with `llmhub doctor`, or use `--via db`".to_owned(),
        },
        400 if answer.detail().is_some_and(|detail| detail.starts_with("Invalid provider type.")) => {
            StoreError::Refused(format!("{address} does not know this type of provider{reference}"))
        }
        422 => StoreError::Refused(format!(
            "{address} refuses the form of the request (422); its answer is not shown, because it repeats what was sent{reference}"
        )),
        429 if says(answer, "Rate limit exceeded. Maximum 10 tests per minute.") => StoreError::RateLimited(format!(
            "{address} takes 10 tests a minute from each admin; wait a minute{reference}"
        )),
        429 => StoreError::RateLimited(format!(
            "{address} answers 429: its limit of 1000 requests an hour is reached for this machine{reference}"
        )),
        300..=399 => StoreError::Invalid(format!("{address} redirects; llmhub follows no redirects{reference}")),
        500 if says(answer, "Failed to retrieve provider keys") => StoreError::Unreachable(format!(
            "{address} cannot read its keys (500): its BYOK_ENCRYPTION_KEY is missing or malformed, or its table is missing{reference}"
        )),
        503 if says(answer, "Database connection not available") => {
            StoreError::Unreachable(format!("{address} has no database (503){reference}"))
        }
        500..=599 => StoreError::Unreachable(format!("{address} fails with status {status}{reference}")),
        _ => StoreError::Invalid(format!("{address} answers with status {status}{reference}")),
    }
}
