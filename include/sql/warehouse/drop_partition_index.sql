drop index concurrently if exists {qualified_index}
