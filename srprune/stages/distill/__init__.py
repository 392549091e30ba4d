"""The stages of distillation: select, categorise, finetune, synthesise."""
