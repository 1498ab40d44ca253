/// What is drawn.
package enum PlotKind: String, CaseIterable, Sendable {
  case strong, weak, overlap, kernel, roofline, longnet, memory, link, predict, perplexity, mix

  /// The benchmark that it shows.
  package var benchmark: String { self == .roofline ? "kernel" : rawValue }

  /// What shows a benchmark unless somebody asks for something else.
  package init?(benchmark: String) {
    if benchmark == "kernel" { self = .roofline } else { self.init(rawValue: benchmark) }
  }

  /// The figure of some rows, all of this kind's benchmark.
  ///
  /// - Throws: a sentence where no row has what is needed.
  package func figure(_ rows: PlotRows) throws -> Figure {
    switch self {
    case .strong: try strongScaling(rows)
    case .weak: try weakScaling(rows)
    case .overlap: try overlap(rows)
    case .kernel: try kernelRates(rows)
    case .roofline: try roofline(rows)
    case .longnet: try longNet(rows)
    case .mix: try mixers(rows)
    case .memory: try memory(rows)
    case .link: try link(rows)
    case .predict: try predictions(rows)
    case .perplexity: try perplexity(rows)
    }
  }
}
