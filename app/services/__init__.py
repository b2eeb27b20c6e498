"""The use cases. They know no fastapi and no celery; `app.api` translates between them and HTTP."""
