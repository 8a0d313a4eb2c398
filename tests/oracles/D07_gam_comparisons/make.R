# Comparisons and checks of additive models: mgcv and stats. Writes expected.json.
suppressMessages(library(mgcv))
d <- read.csv("data.csv")
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0('"', names(x), '": ', sapply(x, json), collapse = ",\n"), "}"))
  v <- ifelse(is.finite(x), formatC(x, digits = 17, format = "g"), "null")
  if (length(v) == 1) v else paste0("[", paste(v, collapse = ", "), "]")
}
rows <- data.frame(w = 0.3, x = c(.1, .5, .9), z = c(.2, .4, .8))
families <- list(gaussian = gaussian(), poisson = poisson(), binomial = binomial(), Gamma = Gamma("log"))
out <- list()
for (name in names(families)) {
  d$y <- d[[name]]
  scaled <- name %in% c("gaussian", "Gamma")
  f <- families[[name]]
  m1 <- gam(y ~ w + s(z, bs = "ps", k = 10), family = f, data = d, method = "REML")
  m2 <- gam(y ~ w + s(x, bs = "ps", k = 10) + s(z, bs = "ps", k = 10), family = f, data = d, method = "REML")
  a <- anova(m1, m2, test = if (scaled) "F" else "Chisq")
  g1 <- glm(y ~ x, family = f, data = d); g2 <- glm(y ~ x + w + I(x * z), family = f, data = d)
  b <- anova(g1, g2, test = if (scaled) "F" else "Chisq")
  both <- concurvity(m2); pairs <- concurvity(m2, full = FALSE)
  set.seed(1); k <- k.check(m2, n.rep = 2000)
  out[[name]] <- list(
    scale = m2$sig2, AIC = c(AIC(m1), AIC(m2)), BIC = c(BIC(m1), BIC(m2)),
    loglik = c(logLik(m1), logLik(m2)),
    edf = c(sum(m1$edf), sum(m2$edf)), edf1 = c(sum(m1$edf1), sum(m2$edf1)), edf2 = c(sum(m1$edf2), sum(m2$edf2)),
    resid_df = a[, 1], df = a[2, 3], statistic = if (scaled) a$F[2] else a$Deviance[2], p = rev(a[2, ])[[1]],
    se = as.numeric(predict(m2, rows, se.fit = TRUE)$se.fit),
    se_unconditional = as.numeric(predict(m2, rows, se.fit = TRUE, unconditional = TRUE)$se.fit),
    concurvity_worst = both[1, ], concurvity_observed = both[2, ], concurvity_estimate = both[3, ],
    pairs_worst = as.numeric(pairs$worst), pairs_observed = as.numeric(pairs$observed),
    pairs_estimate = as.numeric(pairs$estimate),
    k_edf = k[, 2], k_index = k[, 3], k_p = k[, 4],
    glm_dispersion = summary(g2)$dispersion, glm_df = b$Df[2],
    glm_statistic = if (scaled) b$F[2] else b$Deviance[2], glm_p = rev(b[2, ])[[1]],
    glm_aic = c(AIC(g1), AIC(g2)), glm_bic = c(BIC(g1), BIC(g2)))
}
cat(json(out), file = "expected.json", sep = "\n")
