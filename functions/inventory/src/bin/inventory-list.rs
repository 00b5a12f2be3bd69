//! GET /api/v1/items

use inventory::handlers::list;
use inventory::store::InventoryStore;
use shared_auth::Verifier;
use shared_lambda::{aws, env};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared_lambda::Error> {
    let aws = aws::Settings::from_env()?;
    let store = InventoryStore::new(aws.dynamodb(), env("INVENTORY_TABLE")?);
    let verifier = Verifier::from_env()?;
    list::QUERY
        .run(|context, request| list::handle(&store, &verifier, context, request))
        .await
}
