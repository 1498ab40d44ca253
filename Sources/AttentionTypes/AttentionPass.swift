/// One of the two passes of attention.
public enum AttentionPass: Hashable, Sendable {
  case forward, backward
}
