"""HTTP bodies. Their field names are a contract with every client; each carries an example for `/openapi.json`."""
