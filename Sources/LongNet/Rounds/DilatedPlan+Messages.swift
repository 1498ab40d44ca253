import Attention

extension DilatedPlan {
  /// Writes rows of queries of a step that a rank holds, tensor by tensor, into a message.
  func writeQueries(
    _ tensors: [RowGrid], of step: DilatedStep, heldBy rank: Int, to message: MessageCursor,
    _ team: ThreadTeam
  ) {
    for grid in tensors {
      forEachQuery(of: step, heldBy: rank) { batch, held in
        unsafe grid.read(
          batch: batch, tokens: held.tokens, heads: families[step.task.family].queryHeads,
          to: &message.address, team: team)
      }
    }
  }

  /// Writes rows of keys of a step that a rank holds, likewise.
  func writeKeys(
    _ tensors: [RowGrid], of step: DilatedStep, heldBy rank: Int, to message: MessageCursor,
    _ team: ThreadTeam
  ) {
    for grid in tensors {
      forEachKey(of: step, heldBy: rank) { batch, held in
        unsafe grid.read(
          batch: batch, tokens: held.tokens, heads: families[step.task.family].kvHeads,
          to: &message.address, team: team)
      }
    }
  }
}
