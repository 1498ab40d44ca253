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

  /// The most pages that each rank has in use at once, while sequences grow from a prompt.
  ///
  /// A page goes to the rank with fewest: if then `n` are in use, it has at most
  /// `⌊(n − 1) / ranks⌋ + 1`. A sequence that forks from the prompt begins with a copy of the page
  /// that is being filled, at the same rank.
  private func mostPages(_ decoder: Decoder, prompt: PiecePlan, context: Int) -> [Int] {
    let ofPrompt = prompt.pages
    let grown = max(0, context - prompt.tokens)
    if grown == 0 { return ofPrompt.most }
    let kept = ofPrompt.left.reduce(0, +)
    let added = max(1, forks) * pages(grown) + forks
    var most = kept + added
    if let reach = reach(decoder) {
      // What is seen and a chunk, which begin and end within a page, as runs of the prompt do.
      let seen =
        pages(reach - 1 + min(chunk, grown)) + 1 + runs(of: prompt, in: reach) + pages(sinks)
      most = min(most, forks > 0 ? kept + forks * seen : seen)
    }
    // After context windows a task comes before sequences fork, and ends anywhere.
    let last = prompt.sharding(prompt.count - 1).owner(of: prompt.tokens - 1).rank
    let ofTask = contextWindows == nil ? 0 : pages(grown)
    return ofPrompt.left.enumerated().map { rank, left in
      let copied = forks > 0 && (rank == last || ofTask > 0) ? left + ofTask + forks : 0
      return max(
        ofPrompt.most[rank], copied, min((most - 1) / prompt.ranks + 1, left + added))
    }
  }

  /// Runs of a prompt, of all ranks, of which so many tokens at its end have some.
  private func runs(of prompt: PiecePlan, in tokens: Int) -> Int {
    let ofPiece = prompt.sharding(0).shards.reduce(0) { $0 + $1.count }
    return ofPiece * min(prompt.count, tokens / prompt.length + 2)
  }

  /// The bytes of a rank's cache, at most.
  ///
  /// - Parameter rank: of a sequence that grows alone from a prompt.
  func cacheBytes(_ decoder: Decoder, prompt: PiecePlan, context: Int, rank: Int) -> Int {
    let grown = max(0, context - prompt.tokens)
    let most = mostPages(decoder, prompt: prompt, context: context)[rank]
    // Those that hold the newest tokens or a chunk, and where runs of the prompt end among them.
    let recent =
      max(1, forks) * (pages(QuantisedPage.residualTokens + min(chunk, grown)) + 1)
      + prompt.sharding(0).shards[rank].count
    return PagedCache.byteCount(
      pages: most, recent: recent, shape: decoder.attentionShape, layers: decoder.layers.count,
      type: cacheType, pageTokens: pageTokens)
  }

  private func pages(_ tokens: Int) -> Int { (tokens + pageTokens - 1) / pageTokens }
}
