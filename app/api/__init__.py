"""HTTP: routers, schemas, problem details. What is asked is done by `app.services`."""
