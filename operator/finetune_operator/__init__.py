"""finetune-operator: declarative hyperparameter sweeps for LLM fine-tuning."""

__version__ = "0.1.0"
