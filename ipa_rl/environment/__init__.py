"""The Gymnasium environment: definitions, actions, observations, reward, episodes."""
