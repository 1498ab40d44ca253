import Attention
import Benchmarks
import FoundationEssentials
import Reporting
import Results
import ScalingModel
import SequenceParallel
import Sharding

/// What a row of gyre bench strong or weak is about.
struct RunKey {
  let problem: DenseProblem
  let ranks: Int
  let hosts: Int
  let threads: Int
  let pass: AttentionPass
  let route: Route
  let arithmetic: Arithmetic
  /// Its name, which is that of the transport that was taken.
  let transportName: String

  /// Nil if it is none that can be predicted; numbers of a file can be anything.
  init?(_ row: ResultRow) {
    func number(_ name: String, _ range: ClosedRange<Int>) -> Int? {
      row.fields[name]?.int.flatMap { range.contains($0) ? $0 : nil }
    }
    let heads = 1...1 << 16
    // What scores cost beside is not predicted.
    if row.fields["rules"]?.string != nil { return nil }
    guard let ranks = number("ranks", 1...100_000), let hosts = number("hosts", 1...ranks),
      let tokens = number("tokens", ranks...1 << 40),
      let headDim = number("headDim", 1...AttentionShape.largestHeadDim),
      let queryHeads = number("queryHeads", heads), let kvHeads = number("kvHeads", heads),
      queryHeads % kvHeads == 0,
      // Files of earlier versions had one head dim.
      let valueHeadDim = row.fields["valueHeadDim"] == nil
        ? headDim : number("valueHeadDim", 1...AttentionShape.largestHeadDim),
      let pattern = PatternChoice(row),
      let layout = row.fields["layout"]?.string.flatMap(Layout.init(rawValue:)),
      let wire = row.fields["wire"]?.string.flatMap(WireType.init(rawValue:)),
      let arithmetic = Arithmetic(row),
      let pass = row.fields["pass"]?.string.flatMap(KernelPass.init(rawValue:)),
      // Where auto was asked for, what it came to.
      let name = row.fields["chosenTransport"]?.string ?? row.fields["transport"]?.string,
      let route = try? PredictedTransport.parse(name).first?
        .route(ranks: ranks, ranksPerHost: (ranks + hosts - 1) / hosts)
    else { return nil }
    problem = DenseProblem(
      shape: AttentionShape(
        batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDim,
        valueHeadDim: valueHeadDim),
      tokens: tokens, layout: layout, pattern: pattern, wire: wire)
    self.ranks = ranks
    self.hosts = hosts
    threads = number("threads", 1...1024) ?? 1
    self.pass = pass.pass
    self.route = route
    self.arithmetic = arithmetic
    transportName = "\(route)"
  }
}

extension PatternChoice {
  /// That of a row of a results file; nil where the row does not say.
  init?(_ row: ResultRow) {
    guard let fields = try? jsonLine(JSONValue.object(row.fields)),
      let choice = try? JSONDecoder().decode(PatternChoice.self, from: Data(fields.utf8))
    else { return nil }
    self = choice
  }
}
