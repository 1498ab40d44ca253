import ArgumentParser

/// What rank 0 prints.
enum ReportFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json
}
