import Attention
import Sharding

extension RunOptions {
  /// The furthest that any layer's queries see, themselves included; nil if some see all.
  func reach(_ decoder: Decoder) -> Int? {
    var reach = 0
    for layer in decoder.layers {
      guard let width = width(layer) else { return nil }
      reach = max(reach, width)
    }
    return reach
  }

  /// Positions that the token at `position` and all after it see in no layer.
  func hidden(_ decoder: Decoder, before position: Int) -> Range<Int> {
    guard let reach = reach(decoder) else { return 0..<0 }
    return sinks..<max(sinks, position - reach + 1)
  }

  /// The most pages that each rank has in use at once, while a sequence grows from a prompt.
  ///
  /// A page goes to the rank with fewest: if then `n` are in use, it has at most
  /// `⌊(n − 1) / ranks⌋ + 1`. A sequence that forks from the prompt begins with a copy of the page
  /// that is being filled, at the same rank.
  func mostPages(_ decoder: Decoder, prompt: Sharding, context: Int) -> [Int] {
    let ofPrompt = PageTable.pageCounts(
      of: prompt, pageTokens: pageTokens, hiding: hidden(decoder, before: prompt.tokens))
    let grown = max(0, context - prompt.tokens)
    if grown == 0 { return ofPrompt }
    let (kept, added) = (ofPrompt.reduce(0, +), pages(grown) + (forks ? 1 : 0))
    var most = kept + added
    if let reach = reach(decoder) {
      // What is seen and a chunk, which begin and end within a page, as runs of the prompt do.
      let runs = prompt.shards.reduce(0) { $0 + $1.count }
      let seen = pages(reach - 1 + min(chunk, grown)) + 1 + runs + pages(sinks)
      most = min(most, forks ? kept + seen : seen)
    }
    return ofPrompt.map { max($0, min((most - 1) / prompt.ranks + 1, $0 + added)) }
  }

  /// The bytes of a rank's cache, at most.
  ///
  /// - Parameter rank: of a sequence that grows alone from a prompt.
  func cacheBytes(_ decoder: Decoder, prompt: Sharding, context: Int, rank: Int) -> Int {
    let grown = max(0, context - prompt.tokens)
    // Those that hold the newest tokens or a chunk, and where runs of the prompt end among them.
    let recent =
      pages(QuantisedPage.residualTokens + min(chunk, grown)) + 1
      + prompt.shards[rank].count
    return PagedCache.byteCount(
      pages: mostPages(decoder, prompt: prompt, context: context)[rank], recent: recent,
      shape: decoder.attentionShape, layers: decoder.layers.count, type: cacheType,
      pageTokens: pageTokens)
  }

  private func pages(_ tokens: Int) -> Int { (tokens + pageTokens - 1) / pageTokens }
}
